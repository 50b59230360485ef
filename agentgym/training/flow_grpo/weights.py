"""The parameters that learn: read, written, and told apart by digest."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

Weights = dict[str, np.ndarray]


def read_weights(network: nn.Module) -> Weights:
    """A copy of every parameter that learns, by name."""
    return {name: parameter.detach().cpu().numpy().copy() for name, parameter in _learning(network).items()}


def write_weights(network: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Sets parameters in place, so that whoever holds the network sees them."""
    parameters = _learning(network)
    with torch.no_grad():
        for name, values in weights.items():
            parameters[name].copy_(torch.as_tensor(values))


def weights_digest(network: nn.Module) -> str:
    """SHA-256 over name, shape and bytes of every parameter that learns."""
    digest = hashlib.sha256()
    for name, values in sorted(_learning(network).items()):
        array = np.asarray(values.detach().cpu().numpy(), order="C")
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _learning(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
