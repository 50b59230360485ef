"""The permanent set of regression cases: it is appended to, and what customers said can be forgotten."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentgym.errors import ContractBroken, InvalidInput
from agentgym.evaluation.floors import AlwaysTalk
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.regressions.of_world import regression_of_case
from agentgym.scenarios.regressions.regression import Regression
from agentgym.scenarios.regressions.regression_set import RegressionSet

WORLD = CustomerSupport()
NOW = datetime(2025, 3, 3, 9, tzinfo=UTC)


def regression(number: int = 1, source: str = "c1") -> Regression:
    case = WORLD.case(kind="refund_request", customer="CUS-00001", number=number)
    made = regression_of_case(WORLD, case, AlwaysTalk(), name="talk", seed=0)
    return made.model_copy(update={"source": source})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "experience.db"


@pytest.fixture
def cases(path: Path) -> RegressionSet:
    return RegressionSet(f"sqlite:///{path}", "desk")


def test_what_is_added_is_there_for_whoever_opens_the_set_next(cases: RegressionSet, path: Path) -> None:
    added = regression()
    assert cases.add(added, reason="seen in production", at=NOW)
    assert RegressionSet(f"sqlite:///{path}", "desk").cases() == (added,)
    assert RegressionSet(f"sqlite:///{path}", "another").cases() == ()


def test_adding_a_case_again_changes_nothing(cases: RegressionSet) -> None:
    assert [cases.add(regression(), reason="seen", at=NOW) for _ in range(2)] == [True, False]
    assert len(cases.history()) == 1


def test_a_removed_case_stays_in_the_history_with_the_reason(cases: RegressionSet) -> None:
    added = regression()
    cases.add(added, reason="seen", at=NOW)
    cases.remove(added.regression_id, reason="the rule changed", at=NOW)
    assert cases.cases() == ()
    assert [(entry.change, entry.reason) for entry in cases.history()] == [("added", "seen"), ("removed", "the rule changed")]
    assert cases.add(added, reason="it changed back", at=NOW)
    assert cases.cases() == (added,)


def test_nothing_comes_or_goes_without_a_reason(cases: RegressionSet) -> None:
    with pytest.raises(InvalidInput, match="the reason is empty"):
        cases.add(regression(), reason=" ", at=NOW)
    cases.add(regression(), reason="seen", at=NOW)
    with pytest.raises(InvalidInput, match="the reason is empty"):
        cases.remove(regression().regression_id, reason="", at=NOW)
    assert [entry.change for entry in cases.history()] == ["added"]


def test_only_what_is_in_the_set_is_removed(cases: RegressionSet) -> None:
    with pytest.raises(InvalidInput, match="'nothing' is not"):
        cases.remove("nothing", reason="no", at=NOW)


def test_a_forgotten_conversation_leaves_no_words_and_the_history_holds(cases: RegressionSet, path: Path) -> None:
    first, second = regression(1, source="c1"), regression(2, source="c2")
    for added in (first, second):
        cases.add(added, reason="seen", at=NOW)
    assert cases.forget(["c1"], at=NOW) == (first.regression_id,)
    assert cases.forget(["c1"], at=NOW) == ()
    assert cases.cases() == (second,)
    with sqlite3.connect(path) as connection:
        contents = [row[0] for row in connection.execute("select content from agentgym_regression_cases")]
    assert contents == [second.model_dump_json()]
    assert [entry.change for entry in cases.history()] == ["added", "added", "forgotten"]


def test_what_was_removed_can_be_forgotten_too(cases: RegressionSet, path: Path) -> None:
    added = regression()
    cases.add(added, reason="seen", at=NOW)
    cases.remove(added.regression_id, reason="wrong", at=NOW)
    assert cases.forget(["c1"], at=NOW) == (added.regression_id,)
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from agentgym_regression_cases").fetchone() == (0,)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("update agentgym_regression_history set entry = replace(entry, 'seen', 'none')", "was edited or one before it removed"),
        ("update agentgym_regression_cases set content = replace(content, 'talk', 'walk')", "is changed"),
        ("delete from agentgym_regression_cases", "is gone"),
    ],
)
def test_an_edited_set_is_noticed(cases: RegressionSet, path: Path, edit: str, told: str) -> None:
    cases.add(regression(), reason="seen", at=NOW)
    with sqlite3.connect(path) as connection:
        connection.execute(edit)
    with pytest.raises(ContractBroken, match=told):
        cases.cases()
