"""Who answers in an environment made of traces: what was trained, a model elsewhere that is shown the traces, or the record itself."""

import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

from agentgym.episode import Policy
from agentgym.errors import InvalidInput
from agentgym.policies.checkpoint import Checkpoint, load_policy
from agentgym.policies.recalled_context import ContextPolicy
from agentgym.policies.retrieval import Memory, RetrievalPolicy
from agentgym.policies.upstream import UpstreamConfig, UpstreamPolicy
from agentgym.registry import ModelRegistry, ModelVersion
from agentgym.settings import Settings
from agentgym.store import ArtifactRef, open_store
from agentgym.training.trained_agent import TrainedAgent, read_checkpoint

RETRIEVAL: Literal["retrieval"] = "retrieval"
AnyPolicy: TypeAlias = str | Path | Policy | TrainedAgent


def policy_for(
    policy: AnyPolicy | Checkpoint | ModelVersion | ArtifactRef | None, memory: Memory, *, agent: str, settings: Settings
) -> tuple[Policy, str]:
    """The policy, and what it is in words. Raises InvalidInput for what is none."""
    if policy is None and settings.llm_base_url is not None:
        return _model_elsewhere(memory, settings)
    if policy is None or policy == RETRIEVAL:
        return RetrievalPolicy(memory), "the record"
    if isinstance(policy, TrainedAgent):
        return policy.policy, "a trained agent"
    if isinstance(policy, str | Path | Checkpoint | ModelVersion | ArtifactRef):
        checkpoint, name = _checkpoint(policy, agent, settings)
        return load_policy(checkpoint, environment=os.environ), name
    if callable(getattr(policy, "act", None)):
        return policy, type(policy).__name__
    raise InvalidInput(
        f"A policy is a path, a version, a checkpoint or something with `act`; got {type(policy).__name__}. Give one of these."
    )


def _checkpoint(policy: Any, agent: str, settings: Settings) -> tuple[Checkpoint, str]:
    if isinstance(policy, Checkpoint):
        return policy, f"checkpoint {policy.digest[:12]}"
    if isinstance(policy, str) and (policy.isdecimal() or policy.startswith("@")):
        policy = ModelRegistry(settings.tracking_uri, agent, history_url=settings.history_url).resolve(policy)
    if isinstance(policy, ModelVersion):
        return _stored(policy.checkpoint), f"version {policy.version} of {policy.name}"
    if isinstance(policy, ArtifactRef):
        return _stored(policy), f"checkpoint {policy.digest[:12]}"
    return read_checkpoint(Path(policy)), str(policy)


def _stored(ref: ArtifactRef) -> Checkpoint:
    return Checkpoint.from_bytes(open_store(ref.uri).read(ref))


def _model_elsewhere(memory: Memory, settings: Settings) -> tuple[Policy, str]:
    if settings.llm_base_url is None or settings.llm_model is None:
        raise InvalidInput("A model elsewhere is asked by its name; AGENTGYM_LLM_BASE_URL is set and AGENTGYM_LLM_MODEL is not. Set both.")
    config = UpstreamConfig(base_url=settings.llm_base_url, model=settings.llm_model)
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    return ContextPolicy(UpstreamPolicy(config, api_key=key), memory), f"{settings.llm_model} at {config.base_url}"
