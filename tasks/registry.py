"""Versions registered, pointed at, and taken back; every step here finds its work done when it is repeated."""

from agentgym.registry import Lineage, ModelRegistry, ModelVersion
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.verdicts import ABTestReport, PromotionDecision, WaivedFidelity, WaivedLiveTest
from tasks.artifacts import read_value
from tasks.caching import code_digest
from tasks.step import step


@step
def register_version(
    agent: str,
    checkpoint: ArtifactRef,
    snapshot: ArtifactRef,
    pack: ArtifactRef,
    description: str,
    settings: Settings,
    fidelity: ArtifactRef | None = None,
    waived_fidelity: WaivedFidelity | None = None,
) -> ModelVersion:
    """The registered version of this checkpoint.   fidelity: of the environment it was trained in, where it was trained in one."""
    lineage = Lineage(
        snapshot_digest=snapshot.digest,
        snapshot_uri=snapshot.uri,
        pack_digest=pack.digest,
        pack_uri=pack.uri,
        code_version=code_digest()[:12],
        fidelity_digest=fidelity.digest if fidelity else None,
        waived_fidelity=waived_fidelity.reason if waived_fidelity else None,
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
        beaten = entry.standing.previous
        if entry.change == "promotion" and entry.standing.champion == challenger.pointer and beaten:
            return registry.version(beaten.version)
    return registry.resolve("@champion")


@step
def bootstrap_champion(agent: str, version: ModelVersion, reason: str, settings: Settings) -> ModelVersion:
    """Makes a champion for a reason alone: the first one, or an upstream before any verdict made one."""
    return open_registry(agent, settings).bootstrap(version, reason)


@step
def promote_version(
    agent: str, decision: ArtifactRef, waive_live_test: str | None, settings: Settings, waived_fidelity: WaivedFidelity | None = None
) -> ModelVersion:
    """Makes the accepted version challenger, and champion when the live test is waived with a reason."""
    registry, verdict = open_registry(agent, settings), read_value(decision, PromotionDecision, settings)
    challenger = registry.promote_challenger(verdict, waived_fidelity=waived_fidelity)
    if waive_live_test is None:
        return challenger
    return registry.promote_without_live_test(verdict, WaivedLiveTest(reason=waive_live_test))


@step
def promote_tested_version(agent: str, report: ArtifactRef, settings: Settings) -> ModelVersion:
    """Makes the treatment of an A/B test that ships champion."""
    return open_registry(agent, settings).promote_champion(read_value(report, ABTestReport, settings))


@step
def roll_back_champion(agent: str, reason: str, from_version: int | None, drain: bool, settings: Settings) -> ModelVersion:
    """Makes the previous champion champion again; with `drain`, conversations under way end where they are."""
    return open_registry(agent, settings).rollback(reason, from_version=from_version, drain=drain)


def open_registry(agent: str, settings: Settings) -> ModelRegistry:
    """The registered versions of the agent."""
    return ModelRegistry(settings.tracking_uri, agent, history_url=settings.history_url)
