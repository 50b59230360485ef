"""What `infra/prefect.yaml` declares can be served, and started with a form."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from prefect.deployments.runner import RunnerDeployment

from agentgym.errors import InvalidInput
from agentgym.traces.importers import format_names
from flows.improve_agent import improve_agent
from flows.serve import DEPLOYMENTS_FILE, declared_deployments

SERVED = {
    ("improve-agent", "nightly"): "flows.improve_agent.improve_agent",
    ("improve-agent", "by-hand"): "flows.improve_agent.improve_agent",
    ("ab-test", "by-hand"): "flows.ab_test.ab_test",
    ("conclude-ab-test", "every-quarter-hour"): "flows.ab_test.conclude_ab_test",
    ("start-ab-test", "by-hand"): "flows.ab_test.start_ab_test",
    ("ramp-ab-test", "by-hand"): "flows.ab_test.change_weights",
    ("stop-ab-test", "by-hand"): "flows.ab_test.stop_ab_test",
    ("rollback", "by-hand"): "flows.rollback.rollback",
}
CRONS = {("improve-agent", "nightly"): "0 3 * * *", ("conclude-ab-test", "every-quarter-hour"): "*/15 * * * *"}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[tuple[str, str], RunnerDeployment]:
    """By flow and name, as somebody serves them from a folder that is not the checkout."""
    monkeypatch.chdir(tmp_path)
    return {(str(deployment.flow_name), deployment.name): deployment for deployment in declared_deployments(DEPLOYMENTS_FILE)}


def test_every_flow_can_be_started_wherever_it_is_served_from(served: Mapping[tuple[str, str], RunnerDeployment]) -> None:
    assert {key: deployment.entrypoint for key, deployment in served.items()} == SERVED


def test_what_runs_by_the_clock_is_switched_off_at_first(served: Mapping[tuple[str, str], RunnerDeployment]) -> None:
    scheduled = {key: deployment.schedules for key, deployment in served.items() if deployment.schedules}
    assert {key: [each.schedule.cron for each in schedules] for key, schedules in scheduled.items()} == {
        key: [cron] for key, cron in CRONS.items()
    }
    assert not [schedule for schedules in scheduled.values() for schedule in schedules if schedule.active]


def test_the_nightly_run_learns_from_what_was_served(served: Mapping[tuple[str, str], RunnerDeployment]) -> None:
    assert served["improve-agent", "nightly"].parameters == {}
    assert improve_agent.parameters.properties["source"]["default"] is None


def test_each_entrypoint_is_also_a_file_for_prefect_deploy() -> None:
    declared = yaml.safe_load(DEPLOYMENTS_FILE.read_text())["deployments"]
    files = {declaration["entrypoint"].partition(":")[0] for declaration in declared}
    assert all((DEPLOYMENTS_FILE.parent.parent / file).is_file() for file in files)


def test_a_file_that_declares_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("deployments: []")
    with pytest.raises(InvalidInput, match="must declare deployments"):
        declared_deployments(tmp_path / "prefect.yaml")


def test_the_form_of_a_run_knows_types_choices_and_bounds() -> None:
    schema = improve_agent.parameters
    assert schema.required == []
    assert schema.definitions["TraceSource"]["properties"]["format"]["enum"] == list(format_names())
    assert schema.definitions["TrainingConfig"]["properties"]["episodes"]["minimum"] == 1


def test_a_run_with_a_wrong_parameter_is_refused_before_it_starts() -> None:
    with pytest.raises(Exception, match="format"):
        improve_agent.validate_parameters({"source": {"path": "logs", "format": "parquet"}})
