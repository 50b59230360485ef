"""The registry on a real MLflow in SQLite: versions, aliases, and a history that survives anything."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agentgym.errors import ContractBroken, InvalidInput, Refused, Unavailable
from agentgym.registry import Lineage, ModelRegistry, ModelVersion
from agentgym.statistics import Estimate
from agentgym.store import ArtifactRef
from agentgym.tracking import open_mlflow
from agentgym.verdicts import Check, CheckOutcome, PromotionDecision, Subject, WaivedLiveTest

LINEAGE = Lineage(snapshot_digest="5" * 64, pack_digest="9" * 64, code_version="0.1.0", report_digest="7" * 64)
WAIVER = WaivedLiveTest(reason="There is no live traffic yet.")


def checkpoint(name: str) -> ArtifactRef:
    return ArtifactRef(uri=f"file:///checkpoints/{name}", digest=name.ljust(64, "0"))


def decide(challenger: str, champion: str | None, outcome: CheckOutcome = "passed") -> PromotionDecision:
    gain = Estimate(mean=0.1, standard_error=0.02, low=0.06, high=0.14, clusters=40)
    return PromotionDecision(
        evidence="play",
        primary_metric="tool_reliability",
        case_set_digest="c" * 64,
        challenger=Subject(name=challenger, checkpoint_digest=checkpoint(challenger).digest),
        champion=Subject(name=champion, checkpoint_digest=checkpoint(champion).digest) if champion else None,
        challenger_report_digest="1" * 64,
        champion_report_digest="2" * 64,
        checks=(Check(name="gain", outcome=outcome, statement="tool_reliability went from 0.8 to 0.9.", difference=gain),),
        criteria={},
    )


def register(registry: ModelRegistry, *names: str) -> list[ModelVersion]:
    return [registry.register(checkpoint(name), lineage=LINEAGE) for name in names]


def promote(registry: ModelRegistry, challenger: str, champion: str) -> ModelVersion:
    decision = decide(challenger, champion)
    registry.promote_challenger(decision)
    return registry.promote_without_live_test(decision, WAIVER)


def aliases(registry: ModelRegistry, uri: str) -> dict[str, int]:
    """What MLflow itself says."""
    return {alias: int(version) for alias, version in open_mlflow(uri).get_registered_model(registry.name).aliases.items()}


def with_two_champions(registry: ModelRegistry) -> None:
    first, _ = register(registry, "a", "b")
    registry.bootstrap(first, "It imitates the agent of today.")
    promote(registry, "b", "a")


def test_a_checkpoint_registered_twice_is_one_version(registry: ModelRegistry) -> None:
    first, again = register(registry, "a", "a")
    assert first == again
    assert len(registry.versions()) == 1


def test_a_version_carries_its_lineage_as_tags(registry: ModelRegistry) -> None:
    (version,) = register(registry, "a")
    assert version.tags == {"checkpoint_digest": checkpoint("a").digest, **LINEAGE.model_dump(exclude_none=True)}
    assert version.checkpoint == checkpoint("a")


def test_only_the_first_champion_can_be_bootstrapped(registry: ModelRegistry, uri: str) -> None:
    first, second = register(registry, "a", "b")
    registry.bootstrap(first, "It imitates the agent of today.")
    with pytest.raises(Refused, match=r"version 1 .* is champion"):
        registry.bootstrap(second, "It looks nice.")
    assert aliases(registry, uri) == {"champion": 1}


def register_upstream(registry: ModelRegistry, name: str) -> ModelVersion:
    return registry.register(checkpoint(name), lineage=Lineage(code_version="0.1.0", policy="upstream"))


def test_an_upstream_takes_the_place_of_a_champion_that_no_verdict_made(registry: ModelRegistry, uri: str) -> None:
    first, _ = register(registry, "a", "b")
    registry.bootstrap(first, "It imitates the agent of today.")
    registry.promote_challenger(decide("b", "a"))
    registry.bootstrap(register_upstream(registry, "u"), "It is the agent of today.")
    assert aliases(registry, uri) == {"champion": 3, "challenger": 2, "previous": 1}


def test_an_upstream_does_not_take_the_place_of_a_champion_by_verdict(registry: ModelRegistry) -> None:
    with_two_champions(registry)
    registry.rollback("Version 1 was bootstrapped, but version 2 earned its place.")
    with pytest.raises(Refused, match=r"until a verdict makes a champion; version 1 .* version 3 cannot be"):
        registry.bootstrap(register_upstream(registry, "u"), "It is the agent of today.")


def test_a_bootstrap_that_is_repeated_changes_nothing(registry: ModelRegistry) -> None:
    (first,) = register(registry, "a")
    registry.bootstrap(first, "It imitates the agent of today.")
    registry.bootstrap(first, "It imitates the agent of today.")
    assert len(registry.history()) == 1


def test_a_promotion_moves_champion_and_previous_together(registry: ModelRegistry, uri: str) -> None:
    with_two_champions(registry)
    assert aliases(registry, uri) == {"champion": 2, "previous": 1}


def test_the_history_tells_by_which_verdict_and_why_without_a_live_test(registry: ModelRegistry) -> None:
    with_two_champions(registry)
    bootstrap, challenge, promotion = registry.history()
    assert (bootstrap.change, challenge.change, promotion.change) == ("bootstrap", "challenge", "promotion")
    assert promotion.decision == decide("b", "a")
    assert WAIVER.reason in promotion.reason


@pytest.mark.parametrize("outcome", ["failed", "inconclusive"])
def test_a_decision_that_does_not_promote_never_moves_an_alias(registry: ModelRegistry, uri: str, outcome: CheckOutcome) -> None:
    first, _ = register(registry, "a", "b")
    registry.bootstrap(first, "It imitates the agent of today.")
    with pytest.raises(Refused, match="tool_reliability went from"):
        registry.promote_challenger(decide("b", "a", outcome))
    assert aliases(registry, uri) == {"champion": 1}
    assert len(registry.history()) == 1


def test_a_decision_against_another_champion_is_refused_naming_both(registry: ModelRegistry) -> None:
    with_two_champions(registry)
    register(registry, "c")
    with pytest.raises(Refused, match=r"c \(c000.* with a \(a000.* champion is version 2 \(b000"):
        registry.promote_challenger(decide("c", "a"))


def test_a_decision_about_an_unregistered_checkpoint_is_refused(registry: ModelRegistry) -> None:
    with pytest.raises(Refused, match="not registered"):
        registry.promote_challenger(decide("z", None))


def test_only_the_present_challenger_becomes_champion(registry: ModelRegistry, uri: str) -> None:
    first, *_ = register(registry, "a", "b", "c")
    registry.bootstrap(first, "It imitates the agent of today.")
    registry.promote_challenger(decide("b", "a"))
    registry.promote_challenger(decide("c", "a"))
    with pytest.raises(Refused, match=r"about b \(b000.* challenger is version 3"):
        registry.promote_without_live_test(decide("b", "a"), WAIVER)
    assert aliases(registry, uri) == {"champion": 1, "challenger": 3}


def test_a_promotion_that_is_repeated_changes_nothing(registry: ModelRegistry, uri: str) -> None:
    with_two_champions(registry)
    before = registry.history()
    promote(registry, "b", "a")
    assert registry.history() == before
    assert aliases(registry, uri) == {"champion": 2, "previous": 1}


def test_a_rollback_is_undone_by_another(registry: ModelRegistry, uri: str) -> None:
    with_two_champions(registry)
    registry.rollback("Customers complain.")
    assert aliases(registry, uri) == {"champion": 1, "previous": 2}
    registry.rollback("They did not.")
    assert aliases(registry, uri) == {"champion": 2, "previous": 1}


def test_a_rollback_that_is_repeated_for_the_same_version_changes_nothing(registry: ModelRegistry, uri: str) -> None:
    with_two_champions(registry)
    registry.rollback("Customers complain.", from_version=2)
    registry.rollback("Customers complain.", from_version=2)
    assert aliases(registry, uri) == {"champion": 1, "previous": 2}


def test_a_rollback_from_a_version_that_is_not_champion_is_refused(registry: ModelRegistry) -> None:
    with_two_champions(registry)
    with pytest.raises(Refused, match="version 7 is not champion"):
        registry.rollback("Customers complain.", from_version=7)


def test_a_rollback_is_not_undone_by_running_the_promotion_again(registry: ModelRegistry) -> None:
    with_two_champions(registry)
    registry.rollback("Customers complain.")
    with pytest.raises(Refused, match="promotes once"):
        promote(registry, "b", "a")


def test_a_rollback_with_nothing_to_roll_back_to_is_bad_input(registry: ModelRegistry) -> None:
    (first,) = register(registry, "a")
    registry.bootstrap(first, "It imitates the agent of today.")
    with pytest.raises(InvalidInput, match="has had one") as caught:
        registry.rollback("Customers complain.")
    assert caught.value.exit_code == 2
    assert len(registry.history()) == 1


@pytest.mark.parametrize(("drain", "open_conversations"), [(False, "move"), (True, "stay")])
def test_a_rollback_moves_open_conversations_unless_it_drains(registry: ModelRegistry, drain: bool, open_conversations: str) -> None:
    with_two_champions(registry)
    registry.rollback("Customers complain.", drain=drain)
    assert [entry.open_conversations for entry in registry.history()] == ["stay", "stay", "stay", open_conversations]


def test_a_rollback_needs_a_reason(registry: ModelRegistry) -> None:
    with_two_champions(registry)
    with pytest.raises(InvalidInput, match="Say why"):
        registry.rollback("  ")


def test_an_alias_moved_by_hand_is_put_back_and_told(registry: ModelRegistry, uri: str) -> None:
    with_two_champions(registry)
    open_mlflow(uri).set_registered_model_alias(registry.name, "champion", "1")
    reopened = ModelRegistry(uri, registry.name)
    assert aliases(reopened, uri) == {"champion": 2, "previous": 1}
    assert "@champion had been moved by hand in MLflow to version 1" in reopened.status().moved_by_hand[0]
    assert reopened.history()[-1].change == "repair"


def test_looking_at_an_agent_that_was_never_registered_leaves_no_trace_of_it(registry: ModelRegistry, uri: str) -> None:
    assert (registry.versions(), registry.history(), registry.status().champion) == ((), (), None)
    assert registry.known_names() == ()
    register(registry, "a")
    assert ModelRegistry(uri, "another").known_names() == (registry.name,)


@pytest.mark.parametrize("at", [0, 4096 * 3])
def test_a_damaged_database_is_unavailable_and_says_so(uri: str, tmp_path: Path, at: int) -> None:
    """Its driver's error came through as ours, with a traceback."""
    content = bytearray((tmp_path / "mlflow.db").read_bytes())
    content[at : at + 40 * 4096] = b"?" * 40 * 4096
    (tmp_path / "mlflow.db").write_bytes(content)
    with pytest.raises(Unavailable, match=r"MLflow's database must be readable and writable; for .* it said .* restore the database"):
        ModelRegistry(uri, "support_agent").versions()


def test_aliases_of_a_model_without_a_history_are_left_alone(registry: ModelRegistry, uri: str) -> None:
    register(registry, "a")
    open_mlflow(uri).set_registered_model_alias(registry.name, "champion", "1")
    ModelRegistry(uri, registry.name)
    assert aliases(registry, uri) == {"champion": 1}


def test_a_rollback_leaves_a_champion_that_was_deleted_in_mlflow(registry: ModelRegistry, uri: str) -> None:
    with_two_champions(registry)
    open_mlflow(uri).delete_model_version(registry.name, "2")
    reopened = ModelRegistry(uri, registry.name)
    with pytest.raises(InvalidInput, match="no version 2"):
        reopened.resolve("@champion")
    assert reopened.rollback("Version 2 is gone.").version == 1


def test_a_version_of_another_database_does_not_take_the_champions_place(
    registry: ModelRegistry, uri: str, tmp_path: Path, migrated_database: Path
) -> None:
    with_two_champions(registry)
    (tmp_path / "mlflow.db").write_bytes(migrated_database.read_bytes())
    register(ModelRegistry(uri, registry.name), "c", "d")
    reopened = ModelRegistry(uri, registry.name)
    assert aliases(reopened, uri) == {}
    with pytest.raises(ContractBroken, match="not the one the history is about"):
        reopened.resolve("@champion")


def test_an_edited_history_is_noticed(registry: ModelRegistry, tmp_path: Path) -> None:
    with_two_champions(registry)
    with sqlite3.connect(tmp_path / "mlflow-history.db") as connection:
        connection.execute("UPDATE agentgym_registry_history SET entry = replace(entry, 'imitates', 'outdoes') WHERE sequence = 1")
    with pytest.raises(ContractBroken, match="entry 1 was edited"):
        registry.history()


@pytest.mark.parametrize(("reference", "version"), [("1", 1), ("@champion", 2), ("@previous", 1)])
def test_a_version_is_found_by_number_or_alias(registry: ModelRegistry, reference: str, version: int) -> None:
    with_two_champions(registry)
    assert registry.resolve(reference).version == version


@pytest.mark.parametrize(("reference", "rule"), [("9", "no version 9"), ("@best", "one of @champion"), ("@challenger", "points at none")])
def test_a_reference_to_no_version_is_bad_input(registry: ModelRegistry, reference: str, rule: str) -> None:
    with_two_champions(registry)
    with pytest.raises(InvalidInput, match=rule):
        registry.resolve(reference)


def test_a_tracking_server_needs_an_address_for_the_history() -> None:
    with pytest.raises(InvalidInput, match="Give history_url"):
        ModelRegistry("http://127.0.0.1:5000", "support_agent")


PROMOTION = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from mlflow import MlflowClient
from test_model_registry import ModelRegistry, decide, promote

calls_left = int({calls})
def deadly(step):
    def wrapped(*arguments, **named):
        global calls_left
        if calls_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        calls_left -= 1
        return step(*arguments, **named)
    return wrapped

registry = ModelRegistry({uri!r}, "support_agent")
for name in ("set_registered_model_alias", "delete_registered_model_alias"):
    setattr(MlflowClient, name, deadly(getattr(MlflowClient, name)))
promote(registry, {challenger!r}, {champion!r})
"""


def start_promotion(uri: str, challenger: str, champion: str, calls: int = 1000) -> subprocess.Popen[bytes]:
    """Promotes in another process, which dies before it moves an alias for the `calls`-th time."""
    script = PROMOTION.format(folder=str(Path(__file__).parent), uri=uri, challenger=challenger, champion=champion, calls=calls)
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"})


# A promotion moves aliases four times: challenger; then champion, challenger away, previous.
@pytest.mark.parametrize(("calls", "champion"), [(0, 1), (1, 2), (2, 2), (3, 2)])
def test_a_killed_promotion_leaves_one_champion_and_a_history_that_tells(
    registry: ModelRegistry, uri: str, calls: int, champion: int
) -> None:
    first, _ = register(registry, "a", "b")
    registry.bootstrap(first, "It imitates the agent of today.")
    assert start_promotion(uri, "b", "a", calls).wait(timeout=120) == -signal.SIGKILL
    reopened = ModelRegistry(uri, registry.name)
    assert aliases(reopened, uri)["champion"] == champion == reopened.resolve("@champion").version
    assert {entry.change for entry in reopened.history()} <= {"bootstrap", "challenge", "promotion"}
    assert promote(reopened, "b", "a").version == 2
    assert aliases(reopened, uri) == {"champion": 2, "previous": 1}


def test_of_two_promoters_at_once_one_wins_and_the_other_is_told(registry: ModelRegistry, uri: str) -> None:
    first, *_ = register(registry, "a", "b", "c")
    registry.bootstrap(first, "It imitates the agent of today.")
    promoters = [start_promotion(uri, challenger, "a") for challenger in ("b", "c")]
    told = [promoter.communicate(timeout=120)[1].decode() for promoter in promoters]
    assert sorted(promoter.returncode for promoter in promoters) == [0, 1]
    assert sum("agentgym.errors.Refused" in message for message in told) == 1
    assert aliases(registry, uri)["previous"] == 1
    assert [entry.change for entry in registry.history()].count("promotion") == 1
