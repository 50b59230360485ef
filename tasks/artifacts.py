"""Artifacts by reference: the store's bytes as the values a step works on, and back."""

from typing import TypeVar

from pydantic import BaseModel

from agentgym.policies.checkpoint import Checkpoint
from agentgym.scenarios.pack import ScenarioPack
from agentgym.settings import Settings
from agentgym.store import ArtifactRef, open_store
from agentgym.traces.snapshot import DatasetSnapshot

Value = TypeVar("Value", bound=BaseModel)


def read_value(ref: ArtifactRef, model: type[Value], settings: Settings) -> Value:
    return model.model_validate_json(open_store(settings.store).read(ref))


def write_value(value: BaseModel, settings: Settings) -> ArtifactRef:
    return open_store(settings.store).write(value.model_dump_json(indent=1).encode(), suffix=".json")


def read_snapshot(ref: ArtifactRef, settings: Settings) -> DatasetSnapshot:
    return DatasetSnapshot.read(open_store(settings.store), ref)


def read_pack(ref: ArtifactRef, settings: Settings) -> ScenarioPack:
    return ScenarioPack.from_bytes(open_store(settings.store).read(ref))


def write_pack(pack: ScenarioPack, settings: Settings) -> ArtifactRef:
    return open_store(settings.store).write(pack.to_bytes(), suffix=".pack.json.gz")


def read_checkpoint(ref: ArtifactRef, settings: Settings) -> Checkpoint:
    return Checkpoint.from_bytes(open_store(settings.store).read(ref))


def write_checkpoint(checkpoint: Checkpoint, settings: Settings) -> ArtifactRef:
    return open_store(settings.store).write(checkpoint.to_bytes(), suffix=".checkpoint.zip")
