"""What `agentgym doctor` finds about an agent in a real registry, each state provoked."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentgym.ab_tests.ab_test import ABTest
from agentgym.ab_tests.test_log import ABTestLog
from agentgym.registry import Lineage, ModelRegistry
from agentgym.serving.api_keys import ApiKeys
from agentgym.serving.steering import steer
from agentgym.serving.traffic_log import TrafficLog
from agentgym.settings import Settings
from agentgym.store import FileStore
from agentgym.tracking import open_mlflow
from agentgym.verdicts import Subject
from tasks.health import Finding, look_at
from tasks.health.agent import agent_looks

AGENT = "support_agent"
LOOKS = ("tracking", "history", "aliases", "checkpoint", "endpoint", "traffic", "keys", "live test")


@pytest.fixture
def settings(uri: str, tmp_path: Path) -> Settings:
    """A workspace with a champion, and another version."""
    settings = Settings().inside(tmp_path)
    assert settings.tracking_uri == uri
    store, registry = FileStore(tmp_path / "store"), ModelRegistry(uri, AGENT)
    first, _ = (registry.register(store.write(text), lineage=Lineage(code_version="0.1.0")) for text in (b"one", b"two"))
    registry.bootstrap(first, "It runs today.")
    return settings


@pytest.fixture
def traffic(settings: Settings) -> TrafficLog:
    """The champion, served."""
    traffic = TrafficLog(settings.experience_url, AGENT)
    align(settings, traffic)
    traffic.settle(1, "held", at=now())
    return traffic


def now() -> datetime:
    return datetime.now(UTC)


def align(settings: Settings, traffic: TrafficLog) -> None:
    steer(ModelRegistry(settings.tracking_uri, AGENT), ABTestLog(settings.experience_url, AGENT), traffic, now=now())


def look(settings: Settings, name: str, agent: str = AGENT) -> Finding:
    (finding,) = look_at({name: agent_looks(agent, settings)[name]})
    return finding


def states(settings: Settings, names: Iterable[str] = LOOKS, agent: str = AGENT) -> dict[str, str]:
    return {name: look(settings, name, agent).state for name in names}


def test_an_agent_that_is_well_has_nothing_to_repair(settings: Settings, traffic: TrafficLog) -> None:
    ApiKeys(settings.experience_url).create("ann", now=now())
    findings = [look(settings, name) for name in LOOKS]
    assert [(finding.state, finding.repair) for finding in findings] == [("ok", "")] * len(LOOKS)
    assert "@champion is version 1" in findings[2].statement
    assert "version 1, can be read whole (3 bytes)" in findings[3].statement


def test_an_agent_nobody_knows_is_no_problem(settings: Settings) -> None:
    assert set(states(settings, agent="nobody").values()) == {"ok"}


def test_without_a_workspace_nothing_is_wrong_and_nothing_is_made(tmp_path: Path) -> None:
    assert set(states(Settings().inside(tmp_path / "absent")).values()) == {"ok"}
    assert not (tmp_path / "absent").exists()


def test_a_tracking_server_that_is_away_is_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    assert look(away, "tracking").state == "problem"


def test_an_edited_history_is_a_problem(settings: Settings, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow-history.db")) as connection, connection:
        connection.execute("UPDATE agentgym_registry_history SET entry = replace(entry, 'It runs today', 'It is better')")
    assert "entry 1 was edited" in look(settings, "history").statement


def test_an_alias_moved_by_hand_is_told_and_left_alone(settings: Settings) -> None:
    client = open_mlflow(settings.tracking_uri)
    client.set_registered_model_alias(AGENT, "champion", "2")
    finding = look(settings, "aliases")
    assert (finding.state, "@champion is version 1; they say @champion is version 2" in finding.statement) == ("warning", True)
    assert int(client.get_registered_model(AGENT).aliases["champion"]) == 2


@pytest.mark.parametrize(("damage", "fact"), [("removed", "nothing is at"), ("changed", "never changes")])
def test_a_champion_whose_checkpoint_is_not_what_it_was_is_a_problem(settings: Settings, damage: str, fact: str) -> None:
    (checkpoint,) = (path for path in Path(settings.store).rglob("*") if path.is_file() and path.read_bytes() == b"one")
    checkpoint.unlink()
    if damage == "changed":
        checkpoint.write_bytes(b"onE")
    finding = look(settings, "checkpoint")
    assert (finding.state, fact in finding.statement) == ("problem", True)


def test_an_endpoint_that_does_not_answer_or_was_killed_is_a_problem(settings: Settings, traffic: TrafficLog) -> None:
    traffic.sign_in("http://127.0.0.1:9", at=now())
    assert "does not answer" in look(settings, "endpoint").statement
    traffic.sign_in("http://127.0.0.1:9", at=now() - timedelta(seconds=90))
    assert "last did 90 s ago, without saying goodbye" in look(settings, "endpoint").statement
    assert look(settings, "endpoint").state == "problem"
    traffic.sign_out()
    assert look(settings, "endpoint").state == "ok"


def test_a_plan_that_was_refused_is_told_with_its_problem(settings: Settings, traffic: TrafficLog) -> None:
    traffic.settle(1, "refused", at=now(), problem="Its weights are gone.")
    finding = look(settings, "traffic")
    assert (finding.state, finding.statement) == ("problem", "Traffic plan 1 was refused: Its weights are gone.")


def test_a_plan_nobody_holds_yet_waits_for_an_endpoint(settings: Settings) -> None:
    traffic = TrafficLog(settings.experience_url, AGENT)
    align(settings, traffic)
    assert look(settings, "traffic").state == "warning"
    traffic.sign_in("http://127.0.0.1:9", at=now())
    assert look(settings, "traffic").state == "ok"


def test_a_plan_an_endpoint_does_not_take_up_is_a_problem(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.health.agent.HOLD_SECONDS", 0.0)
    traffic = TrafficLog(settings.experience_url, AGENT)
    align(settings, traffic)
    traffic.sign_in("http://127.0.0.1:9", at=now())
    assert "for every replica to hold it" in look(settings, "traffic").statement


def test_traffic_behind_a_decision_is_a_problem_only_while_an_endpoint_runs(settings: Settings, traffic: TrafficLog) -> None:
    start_test(settings)
    assert look(settings, "traffic").state == "warning"
    traffic.sign_in("http://127.0.0.1:9", at=now())
    assert look(settings, "traffic").state == "problem"
    align(settings, traffic)
    assert look(settings, "traffic").state == "ok"


def test_an_endpoint_without_a_key_is_told(settings: Settings, traffic: TrafficLog) -> None:
    assert look(settings, "keys").state == "warning"
    keys = ApiKeys(settings.experience_url)
    keys.create("ann", now=now())
    assert look(settings, "keys").statement == "1 key is in use."
    keys.revoke("ann", now=now())
    assert look(settings, "keys").state == "warning"


def test_a_test_whose_control_is_champion_no_more_is_a_problem(settings: Settings) -> None:
    start_test(settings)
    assert look(settings, "live test").state == "ok"
    ABTestLog(settings.experience_url, AGENT).end("t1", at=now())
    start_test(settings, test_id="t2", control=2)
    finding = look(settings, "live test")
    assert (finding.state, "compares with version 2, which is champion no more; version 1 is" in finding.statement) == ("problem", True)


def start_test(settings: Settings, *, test_id: str = "t1", control: int = 1) -> None:
    registry = ModelRegistry(settings.tracking_uri, AGENT)
    arms = [registry.version(number) for number in (control, 3 - control)]
    subjects = [Subject(name=str(version.version), checkpoint_digest=version.checkpoint.digest) for version in arms]
    weights = {"1": 0.5, "2": 0.5}
    test = ABTest(test_id=test_id, agent=AGENT, control=subjects[0], treatment=subjects[1], salt=test_id, weights=weights, started_at=now())
    ABTestLog(settings.experience_url, AGENT).start(test)
