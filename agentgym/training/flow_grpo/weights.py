"""The parameters that learn: read, written, and told apart by digest."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

Weights = dict[str, np.ndarray]


def learning_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter that learns, by name."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def read_weights(network: nn.Module) -> Weights:
    """A copy of every parameter that learns, by name."""
    return {name: parameter.detach().cpu().numpy().copy() for name, parameter in learning_parameters(network).items()}


def write_weights(network: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Sets parameters in place, so that whoever holds the network sees them."""
    parameters = learning_parameters(network)
    with torch.no_grad():
        for name, values in weights.items():
            # What comes through Ray's object store is read-only, which torch does not know.
            parameters[name].copy_(torch.as_tensor(np.require(values, requirements="W")))


@contextmanager
def replaced(network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """The network has these parameters inside the block, and afterwards, to the bit, those it had before."""
    parameters = learning_parameters(network)
    kept = {name: values.detach().clone() for name, values in parameters.items()}
    _copy(weights, parameters)
    try:
        yield
    finally:
        _copy(kept, parameters)


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over name, shape and bytes of every parameter that learns."""
    digest = hashlib.sha256()
    for name, values in sorted(learning_parameters(network).items()):
        array = np.asarray(values.detach().cpu().numpy(), order="C")
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


@torch.no_grad()
def _copy(weights: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter]) -> None:
    for name, values in weights.items():
        parameters[name].copy_(values)
