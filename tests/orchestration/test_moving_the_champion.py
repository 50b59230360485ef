"""The steps that move the champion, and the way back."""

from datetime import UTC, datetime

import pytest

from agentgym.registry import Lineage, ModelRegistry
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.verdicts import ABTestReport, Arm, Check, PromotionDecision, Subject
from flows.rollback import rollback
from tasks.artifacts import write_value
from tasks.registry import find_incumbent, open_registry, promote_tested_version

NOW = datetime(2025, 3, 3, 9, tzinfo=UTC)
CHAMPION, CHALLENGER = (Subject(name=name, checkpoint_digest=name.ljust(64, "0")) for name in "ab")
PASSED = (Check(name="gain", outcome="passed", statement="It is better."),)
DECISION = PromotionDecision(
    evidence="play",
    primary_metric="tool_reliability",
    case_set_digest="c" * 64,
    challenger=CHALLENGER,
    champion=CHAMPION,
    challenger_report_digest="1" * 64,
    champion_report_digest="2" * 64,
    checks=PASSED,
    criteria={},
)


def arm(subject: Subject) -> Arm:
    return Arm(subject=subject, weight=0.5, customers=9, conversations=9, outcomes=9, successes=9, requests=9, failures=0)


@pytest.fixture(autouse=True)
def registry(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
    """A champion that was bootstrapped, and its challenger."""
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(settings.workspace))
    registry = open_registry("agent", settings)
    for subject in (CHAMPION, CHALLENGER):
        checkpoint = ArtifactRef(uri=f"file:///checkpoints/{subject.name}", digest=subject.checkpoint_digest)
        registry.register(checkpoint, lineage=Lineage(code_version="0.1.0"))
    registry.bootstrap(registry.version(1), "It imitates the agent of today.")
    registry.promote_challenger(DECISION)
    return registry


def test_a_version_that_passed_its_live_test_is_champion_and_can_be_left_to_drain(registry: ModelRegistry, settings: Settings) -> None:
    report = ABTestReport(
        test_id="t1", agent="agent", started_at=NOW, at=NOW, control=arm(CHAMPION), treatment=arm(CHALLENGER), checks=PASSED, criteria={}
    )
    promoted = [promote_tested_version("agent", write_value(report, settings), settings) for _ in range(2)]
    assert [version.version for version in promoted] == [2, 2]
    assert find_incumbent("agent", promoted[0], settings).version == 1
    assert rollback("Customers complain.", drain=True).version == 1
    assert [(entry.change, entry.open_conversations) for entry in registry.history()[2:]] == [("promotion", "stay"), ("rollback", "stay")]
