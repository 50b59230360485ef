"""What was trained below the bar of fidelity says so wherever it goes: in its tags, and in the history."""

from agentgym.registry import Lineage, ModelRegistry
from agentgym.store import ArtifactRef
from agentgym.verdicts import Check, PromotionDecision, Subject, WaivedFidelity

WAIVED = WaivedFidelity(reason="The prices were changed on purpose.", failed=("get_price: it lies.",))


def register(registry: ModelRegistry, name: str, waived: WaivedFidelity | None) -> Subject:
    digest = name.ljust(64, "0")
    lineage = Lineage(code_version="0.1.0", fidelity_digest="f" * 64, waived_fidelity=waived.reason if waived else None)
    registry.register(ArtifactRef(uri=f"file:///checkpoints/{name}", digest=digest), lineage=lineage)
    return Subject(name=name, checkpoint_digest=digest)


def test_the_history_keeps_why_fidelity_was_waived(registry: ModelRegistry) -> None:
    champion, challenger = register(registry, "a", None), register(registry, "b", WAIVED)
    registry.bootstrap(registry.version(1), "It imitates the agent of today.")
    decision = PromotionDecision(
        evidence="play",
        primary_metric="tool_reliability",
        case_set_digest="c" * 64,
        challenger=challenger,
        champion=champion,
        challenger_report_digest="1" * 64,
        champion_report_digest="2" * 64,
        checks=(Check(name="gain", outcome="passed", statement="It is better."),),
        criteria={},
    )
    registry.promote_challenger(decision, waived_fidelity=WAIVED)
    entry = registry.history()[-1]
    assert (entry.change, entry.reason.startswith(f"Fidelity waived: {WAIVED.reason} b")) == ("challenge", True)
    assert registry.version(2).tags["waived_fidelity"] == WAIVED.reason
    assert "waived_fidelity" not in registry.version(1).tags
