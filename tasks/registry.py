"""Versions registered, pointed at, and taken back; every step here finds its work done when it is repeated."""

from agentgym.registry import Lineage, ModelRegistry, ModelVersion
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.verdicts import PromotionDecision, WaivedLiveTest
from tasks.artifacts import read_value
from tasks.caching import code_digest
from tasks.step import step


@step
def register_version(
    agent: str, checkpoint: ArtifactRef, snapshot: ArtifactRef, pack: ArtifactRef, description: str, settings: Settings
) -> ModelVersion:
    """The registered version of this checkpoint."""
    lineage = Lineage(
        snapshot_digest=snapshot.digest,
        snapshot_uri=snapshot.uri,
        pack_digest=pack.digest,
        pack_uri=pack.uri,
        code_version=code_digest()[:12],
    )
    return open_registry(agent, settings).register(checkpoint, lineage=lineage, description=description)


@step
def find_champion(agent: str, settings: Settings) -> ModelVersion | None:
    """The version that is champion now; None before the first."""
    return open_registry(agent, settings).status().champion


@step
def find_incumbent(agent: str, challenger: ModelVersion, settings: Settings) -> ModelVersion:
    """The champion this version has to beat: the present one, or, when the version was promoted already, the one it beat."""
    registry = open_registry(agent, settings)
    for entry in reversed(registry.history()):
        decision = entry.decision
        if entry.change == "promotion" and decision and decision.champion and entry.standing.champion == challenger.pointer:
            beaten = decision.champion.checkpoint_digest
            return next(version for version in registry.versions() if version.checkpoint.digest == beaten)
    return registry.resolve("@champion")


@step
def bootstrap_champion(agent: str, version: ModelVersion, reason: str, settings: Settings) -> ModelVersion:
    """Makes the first champion."""
    return open_registry(agent, settings).bootstrap(version, reason)


@step
def promote_version(agent: str, decision: ArtifactRef, waive_live_test: str | None, settings: Settings) -> ModelVersion:
    """Makes the accepted version challenger, and champion when the live test is waived with a reason."""
    registry, verdict = open_registry(agent, settings), read_value(decision, PromotionDecision, settings)
    challenger = registry.promote_challenger(verdict)
    if waive_live_test is None:
        return challenger
    return registry.promote_champion(verdict, waive_live_test=WaivedLiveTest(reason=waive_live_test))


@step
def roll_back_champion(agent: str, reason: str, from_version: int | None, settings: Settings) -> ModelVersion:
    """Makes the previous champion champion again."""
    return open_registry(agent, settings).rollback(reason, from_version=from_version)


def open_registry(agent: str, settings: Settings) -> ModelRegistry:
    """The registered versions of the agent."""
    return ModelRegistry(settings.tracking_uri, agent, history_url=settings.history_url)
