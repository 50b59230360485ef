"""A policy as training left it: weights, and everything needed to act with them, in one file that cannot run code.

A checkpoint is a zip of `manifest.json` (what it is and where it comes from), `weights.safetensors` (its tensors) and, where the policy
has any, `knowledge.json` (what it knows besides).
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Any, Self

import orjson
import torch
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from agentgym.episode import Policy, TrainablePolicy
from agentgym.errors import InvalidInput
from agentgym.tools import Tool

UPSTREAM = "upstream"
MANIFEST, WEIGHTS, KNOWLEDGE = "manifest.json", "weights.safetensors", "knowledge.json"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


class Manifest(BaseModel):
    """What a checkpoint is.

    policy: the kind of policy, which says how to load it.   configuration: the policy's own.   training: how it came to be.
    lineage: digests of what it was made from, by name (snapshot, pack, parent).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    policy: str
    configuration: dict[str, JsonValue]
    tools: tuple[Tool, ...] = ()
    system_prompt: str | None = None
    training: dict[str, JsonValue] = {}
    lineage: dict[str, str] = {}


class Checkpoint(BaseModel):
    """A manifest with weights, as safetensors, and knowledge, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    manifest: Manifest
    weights: bytes
    knowledge: bytes = b"{}"

    @property
    def weights_digest(self) -> str:
        """SHA-256 of the weights alone."""
        return hashlib.sha256(self.weights).hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 of the whole; equal checkpoints have equal digests."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """One zip, the same bytes for the same content."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
            _write(archive, MANIFEST, orjson.dumps(self.manifest.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS))
            _write(archive, WEIGHTS, self.weights)
            _write(archive, KNOWLEDGE, self.knowledge)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The checkpoint in these bytes; raises InvalidInput when they are none."""
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                manifest = Manifest.model_validate(orjson.loads(archive.read(MANIFEST)))
                return cls(manifest=manifest, weights=archive.read(WEIGHTS), knowledge=archive.read(KNOWLEDGE))
        except (zipfile.BadZipFile, KeyError, orjson.JSONDecodeError, ValidationError) as error:
            raise InvalidInput(
                f"A checkpoint is a zip of {MANIFEST}, {WEIGHTS} and {KNOWLEDGE}; these {len(content)} bytes are not: {error}. "
                "Use the file that training wrote."
            ) from error

    def with_weights_of(
        self, policy: TrainablePolicy, *, training: Mapping[str, JsonValue] | None = None, lineage: Mapping[str, str] | None = None
    ) -> Self:
        """The same policy with the weights it has now; `training` and `lineage` are added to what the manifest says."""
        manifest = self.manifest.model_copy(
            update={
                "training": {**self.manifest.training, **(training or {})},
                "lineage": {**self.manifest.lineage, "parent": self.digest, **(lineage or {})},
            }
        )
        return self.model_copy(update={"manifest": manifest, "weights": policy.weights_bytes()})


def load_policy(checkpoint: Checkpoint, *, environment: Mapping[str, str]) -> Policy:
    """The policy, ready to act.   environment: where the key of an upstream is looked up."""
    if checkpoint.manifest.policy != UPSTREAM:
        return load_trainable_policy(checkpoint)
    from agentgym.policies.upstream import UpstreamConfig, UpstreamPolicy, api_key_of

    config = UpstreamConfig.model_validate(checkpoint.manifest.configuration)
    return UpstreamPolicy(config, api_key=api_key_of(config, environment))


def load_trainable_policy(checkpoint: Checkpoint, *, device: str = "cpu") -> TrainablePolicy:
    """The policy, ready to act and to learn.   device: of a language model; a planner is too small to gain from one.

    Raises InvalidInput for an upstream, which has no weights here.
    """
    kind = checkpoint.manifest.policy
    if kind == UPSTREAM:
        raise InvalidInput(
            "A policy that learns has weights; this checkpoint holds an upstream, which runs elsewhere. Learn from its conversations."
        )
    if kind == "planner":
        from agentgym.policies.planner import Planner

        return Planner.from_checkpoint(checkpoint)
    if kind == "causal_lm":
        # Importing transformers takes seconds.
        from agentgym.policies.causal_lm.causal_lm import CausalLM

        return CausalLM.from_checkpoint(checkpoint, device=device)
    raise InvalidInput(
        f"A checkpoint must hold a policy of a known kind; this one holds {kind!r}, known are 'planner', 'causal_lm' and {UPSTREAM!r}. "
        "Load it with the version that wrote it."
    )


def network_bytes(network: torch.nn.Module) -> bytes:
    """All tensors of a network as safetensors."""
    return save({name: values.detach().cpu().contiguous() for name, values in network.state_dict().items()})


def read_network(network: torch.nn.Module, weights: bytes) -> None:
    """Sets all tensors of a network; raises InvalidInput where they do not fit."""
    try:
        network.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as error:
        raise InvalidInput(f"Weights must fit their network; these do not: {error}. Use a checkpoint that is whole.") from error


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=_LONG_AGO), content, zipfile.ZIP_DEFLATED)


def as_json(content: bytes) -> dict[str, Any]:
    """The JSON object in these bytes."""
    parsed = orjson.loads(content)
    if not isinstance(parsed, dict):
        raise InvalidInput(f"Knowledge in a checkpoint is a JSON object; got {type(parsed).__name__}. Use a checkpoint that is whole.")
    return parsed
