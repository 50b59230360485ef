"""Tracked runs on a real MLflow in SQLite."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from agentgym.errors import InsufficientData, Unavailable
from agentgym.tracking import Tracking, flatten_parameters, open_mlflow, track_step


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("tracking")
    return Tracking(uri=f"sqlite:///{folder / 'new' / 'mlflow.db'}", experiment="loop", artifacts=str(folder / "artifacts"))


@pytest.fixture(scope="module")
def client(tracking: Tracking) -> MlflowClient:
    return open_mlflow(tracking.uri)


def test_a_run_keeps_parameters_lineage_metrics_curves_and_artifacts(tracking: Tracking, client: MlflowClient) -> None:
    lineage = {"snapshot_digest": "5" * 64}
    with track_step("train", tracking=tracking, parameters={"rl": {"clip": 0.2}, "seed": 7}, lineage=lineage) as run:
        run.log_metrics({"tool_reliability": 0.96})
        run.log_curve("reward", [1.0, 2.0, 4.0])
        run.log_curve("kl", [None, 0.5])
        run.log_artifact("plots/reward.txt", "1 2 4")
    kept = client.get_run(run.id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params == {"rl.clip": "0.2", "seed": "7"}
    assert kept.data.metrics == {"tool_reliability": 0.96, "reward": 4.0, "kl": 0.5}
    assert [(point.step, point.value) for point in client.get_metric_history(run.id, "kl")] == [(1, 0.5)]
    assert lineage.items() <= kept.data.tags.items()
    assert [point.value for point in client.get_metric_history(run.id, "reward")] == [1.0, 2.0, 4.0]
    assert Path(client.download_artifacts(run.id, "plots/reward.txt")).read_text() == "1 2 4"


@pytest.mark.parametrize(("error", "status"), [(InsufficientData, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_step_that_ends_in_an_error_ends_its_run_so(
    tracking: Tracking, client: MlflowClient, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), track_step("train", tracking=tracking, parameters={}, lineage={}) as run:
        raise error
    assert client.get_run(run.id).info.status == status


def test_many_parameters_and_points_are_kept_whole(tracking: Tracking, client: MlflowClient) -> None:
    parameters = {f"parameter_{number}": number for number in range(250)}
    with track_step("train", tracking=tracking, parameters=parameters, lineage={}) as run:
        run.log_curve("loss", [float(step) for step in range(2500)])
    assert len(client.get_run(run.id).data.params) == 250
    assert len(client.get_metric_history(run.id, "loss")) == 2500


def test_steps_share_one_experiment(tracking: Tracking, client: MlflowClient) -> None:
    with track_step("train", tracking=tracking, parameters={}, lineage={}) as first:
        pass
    with track_step("evaluate", tracking=tracking, parameters={}, lineage={}) as second:
        pass
    assert client.get_run(first.id).info.experiment_id == client.get_run(second.id).info.experiment_id


def test_nested_parameters_get_dotted_names() -> None:
    assert flatten_parameters({"rl": {"clip": {"low": 0.2}}, "seed": None}) == {"rl.clip.low": "0.2", "seed": "None"}


def test_a_tracking_store_that_cannot_be_opened_is_unavailable() -> None:
    tracking = Tracking(uri="sqlite:////proc/nowhere/mlflow.db")
    with pytest.raises(Unavailable, match="folder that can be written"), track_step("train", tracking=tracking, parameters={}, lineage={}):
        pass
