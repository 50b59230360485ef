"""The gate a challenger passes by its A/B test, on a real MLflow and a real history, also where it is killed halfway."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from agentgym.errors import Refused
from agentgym.registry import Lineage, ModelRegistry
from agentgym.store import ArtifactRef
from agentgym.tracking import open_mlflow
from agentgym.verdicts import ABTestReport, Arm, Check, CheckOutcome, Look, PromotionDecision, Subject

NOW = datetime(2025, 3, 3, 9, tzinfo=UTC)
OUTCOMES: dict[str, CheckOutcome] = {"ship": "passed", "stop": "failed", "keep_running": "inconclusive"}


def subject(name: str) -> Subject:
    return Subject(name=name, checkpoint_digest=name.ljust(64, "0"))


def arm(name: str, successes: int) -> Arm:
    counts = {"customers": 80, "conversations": 100, "outcomes": 100, "successes": successes, "requests": 400, "failures": 0}
    return Arm(subject=subject(name), weight=0.5, **counts)


def report(treatment: str, control: str, *, says: str = "ship", test_id: str = "t1", agent: str = "support_agent") -> ABTestReport:
    return ABTestReport(
        test_id=test_id,
        agent=agent,
        started_at=NOW,
        at=NOW,
        control=arm(control, 70),
        treatment=arm(treatment, 90),
        sequence=(Look(at=NOW, customers=160, mean=0.2, low=0.05, high=0.35),),
        checks=(Check(name="gain", outcome=OUTCOMES[says], statement="success_rate went from 0.7 to 0.9."),),
        criteria={},
    )


def decision(challenger: str, champion: str) -> PromotionDecision:
    return PromotionDecision(
        evidence="play",
        primary_metric="tool_reliability",
        case_set_digest="c" * 64,
        challenger=subject(challenger),
        champion=subject(champion),
        challenger_report_digest="1" * 64,
        champion_report_digest="2" * 64,
        checks=(Check(name="gain", outcome="passed", statement="tool_reliability went from 0.8 to 0.9."),),
        criteria={},
    )


@pytest.fixture(autouse=True)
def _a_is_champion_and_b_its_challenger(registry: ModelRegistry) -> None:
    for name in "abc":
        checkpoint = ArtifactRef(uri=f"file:///checkpoints/{name}", digest=subject(name).checkpoint_digest)
        registry.register(checkpoint, lineage=Lineage(code_version="0.1.0"))
    registry.bootstrap(registry.version(1), "It imitates the agent of today.")
    registry.promote_challenger(decision("b", "a"))


def aliases(uri: str) -> dict[str, int]:
    """What MLflow itself says."""
    return {alias: int(version) for alias, version in open_mlflow(uri).get_registered_model("support_agent").aliases.items()}


def test_a_test_that_ships_makes_its_treatment_champion(registry: ModelRegistry, uri: str) -> None:
    assert registry.promote_champion(report("b", "a")).version == 2
    assert aliases(uri) == {"champion": 2, "previous": 1}


def test_the_history_keeps_the_report_and_lets_open_conversations_end_where_they_are(registry: ModelRegistry) -> None:
    registry.promote_champion(report("b", "a"))
    promotion = registry.history()[-1]
    assert (promotion.change, promotion.report, promotion.decision) == ("promotion", report("b", "a"), None)
    assert promotion.open_conversations == "stay"
    assert promotion.reason.endswith("test t1: ship. The difference is +0.200 (+0.050 to +0.350) over 160 customers.")


@pytest.mark.parametrize("says", ["stop", "keep_running"])
def test_a_test_that_does_not_ship_moves_nothing(registry: ModelRegistry, uri: str, says: str) -> None:
    with pytest.raises(Refused, match=rf"'t1' says '{says}'\. \w+: success_rate went from"):
        registry.promote_champion(report("b", "a", says=says))
    assert aliases(uri) == {"champion": 1, "challenger": 2}
    assert len(registry.history()) == 2


@pytest.mark.parametrize(
    ("told", "rule"),
    [
        (report("b", "c"), r"compared b \(b000.* with c \(c000.* champion is version 1 \(a000"),
        (report("c", "a"), r"about c \(c000.* challenger is version 2 \(b000"),
        (report("z", "a"), r"z \(z000.* is not registered"),
        (report("b", "a", agent="sales"), r"'t1' was of 'sales', not 'support_agent'"),
    ],
)
def test_a_test_of_somebody_else_is_refused_naming_who(registry: ModelRegistry, uri: str, told: ABTestReport, rule: str) -> None:
    with pytest.raises(Refused, match=rule):
        registry.promote_champion(told)
    assert aliases(uri) == {"champion": 1, "challenger": 2}


def test_a_promotion_that_is_repeated_changes_nothing(registry: ModelRegistry, uri: str) -> None:
    registry.promote_champion(report("b", "a"))
    before = registry.history()
    assert registry.promote_champion(report("b", "a")).version == 2
    assert registry.history() == before


def test_a_rollback_is_not_undone_by_running_the_promotion_again(registry: ModelRegistry, uri: str) -> None:
    registry.promote_champion(report("b", "a"))
    registry.rollback("Customers complain.")
    with pytest.raises(Refused, match=r"promotes once; this one made version 2 .* version 1 .* took its place"):
        registry.promote_champion(report("b", "a"))
    assert aliases(uri) == {"champion": 1, "previous": 2}


# Promotes in another process, which kills itself around the given call of a method: before it, or after it.
PROMOTION = """
import importlib, json, os, signal, sys
from pathlib import Path

def kill_at(when, module, owner, name, calls):
    owner = getattr(importlib.import_module(module), owner)
    step = getattr(owner, name)
    def deadly(*arguments, **named):
        nonlocal calls
        calls -= 1
        if calls == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = step(*arguments, **named)
        if calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    setattr(owner, name, deadly)

from agentgym.registry import ModelRegistry
from agentgym.verdicts import ABTestReport

uri, report, moment = sys.argv[1], ABTestReport.model_validate_json(sys.argv[2]), json.loads(sys.argv[3])
registry = ModelRegistry(uri, "support_agent")
if moment:
    kill_at(*moment)
registry.promote_champion(report)
"""
LEDGER, MLFLOW = ("agentgym.registry.ledger", "LockedLedger"), ("mlflow", "MlflowClient")


def start_promotion(uri: str, told: ABTestReport, moment: tuple[str | int, ...] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROMOTION, uri, told.model_dump_json(), json.dumps(moment)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"})


@pytest.mark.parametrize(
    ("moment", "champion"),
    [
        pytest.param(("before", *LEDGER, "append", 1), 1, id="before the history tells"),
        pytest.param(("after", *LEDGER, "append", 1), 1, id="before it is committed"),
        pytest.param(("before", *MLFLOW, "set_registered_model_alias", 1), 2, id="before an alias moves"),
        pytest.param(("after", *MLFLOW, "set_registered_model_alias", 1), 2, id="after @champion moved"),
        pytest.param(("after", *MLFLOW, "delete_registered_model_alias", 1), 2, id="after @challenger went"),
        pytest.param(("before", *LEDGER, "mark_shown", 1), 2, id="before it is noted which aliases moved"),
    ],
)
def test_a_promotion_that_is_killed_leaves_one_champion_and_a_history_that_tells(
    registry: ModelRegistry, uri: str, moment: tuple[str | int, ...], champion: int
) -> None:
    assert start_promotion(uri, report("b", "a"), moment).wait(timeout=120) == -signal.SIGKILL
    reopened = ModelRegistry(uri, registry.name)
    assert aliases(uri) == ({"champion": 2, "previous": 1} if champion == 2 else {"champion": 1, "challenger": 2})
    assert reopened.resolve("@champion").version == champion
    told = [entry.change for entry in reopened.history()]
    assert told == ["bootstrap", "challenge", "promotion"][: 1 + champion]
    assert reopened.status().moved_by_hand == ()
    assert reopened.promote_champion(report("b", "a")).version == 2


def test_of_two_promoters_at_once_one_wins_and_the_other_is_told(registry: ModelRegistry, uri: str) -> None:
    promoters = [start_promotion(uri, report("b", "a", test_id=test_id)) for test_id in ("t1", "t2")]
    told = [promoter.communicate(timeout=120)[1] for promoter in promoters]
    assert sorted(promoter.returncode for promoter in promoters) == [0, 1]
    assert sum("Refused: A test must compare with the present champion" in message for message in told) == 1
    assert [entry.change for entry in registry.history()].count("promotion") == 1
    assert aliases(uri) == {"champion": 2, "previous": 1}
