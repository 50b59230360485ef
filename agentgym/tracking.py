"""One MLflow run per step: its parameters, metrics and curves, lineage and artifacts.

MLflow takes seconds to import, so it is imported when a run or a client is opened, not with this module.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy.exc import DBAPIError

from agentgym.database import make_folder_of
from agentgym.errors import Unavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LONGEST_PARAMETER = 6000
_LARGEST_BATCH = 1000
_MOST_PARAMETERS = 100


class Tracking(BaseModel):
    """Where runs are kept.

    uri: an SQL address, such as sqlite:////path/mlflow.db, or a tracking server's.   experiment: MLflow's group of runs.
    artifacts: folder or s3:// address of the experiment's artifacts, fixed when it is created; None where the server decides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(min_length=1)
    experiment: str = Field(default="agentgym", min_length=1)
    artifacts: str | None = None


class TrackedRun:
    """An open run; `id` is MLflow's."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self.id = run_id
        self._client = client

    def log_metrics(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        self._log([(name, metric, step) for name, metric in metrics.items()])

    def log_curve(self, name: str, points: Sequence[float | None]) -> None:
        """One metric over steps 0, 1, 2, …, sent at once; a step where it was not measured is left out."""
        self._log([(name, point, step) for step, point in enumerate(points) if point is not None])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(self.id, tags=[RunTag(name, text) for name, text in tags.items()])

    def log_artifact(self, path: str, content: bytes | str) -> None:
        """Keeps `content` under `path`, such as `plots/reward.png`, in the run's artifacts."""
        name = Path(path)
        with TemporaryDirectory(prefix="agentgym-") as folder:
            file = Path(folder) / name.name
            file.write_bytes(content.encode() if isinstance(content, str) else content)
            self._client.log_artifact(self.id, str(file), None if name.parent == Path() else str(name.parent))

    def _log(self, points: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time() * 1000)
        metrics = [Metric(name, float(point), now, step) for name, point, step in points]
        for start in range(0, len(metrics), _LARGEST_BATCH):
            self._client.log_batch(self.id, metrics=metrics[start : start + _LARGEST_BATCH])


@contextmanager
def track_step(
    step: str, *, tracking: Tracking, parameters: BaseModel | Mapping[str, JsonValue], lineage: Mapping[str, str]
) -> Iterator[TrackedRun]:
    """A run named after the step, open as long as the block; it ends FINISHED, FAILED by an error, or KILLED by Ctrl-C.

    parameters: the whole configuration of the step, kept with dotted names.   lineage: digests by name, kept as tags.
    Raises Unavailable when MLflow does not answer.
    """
    from mlflow.entities import Param

    with mlflow_answering(tracking.uri):
        client = open_mlflow(tracking.uri)
        run = client.create_run(_experiment_id(client, tracking), run_name=step, tags={"step": step, **lineage})
        flat = [Param(name, text[:_LONGEST_PARAMETER]) for name, text in flatten_parameters(parameters).items()]
        for start in range(0, len(flat), _MOST_PARAMETERS):
            client.log_batch(run.info.run_id, params=flat[start : start + _MOST_PARAMETERS])
        status = "FAILED"
        try:
            yield TrackedRun(client, run.info.run_id)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            client.set_terminated(run.info.run_id, status)


def flatten_parameters(parameters: BaseModel | Mapping[str, JsonValue]) -> dict[str, str]:
    """Nested configuration as text by dotted name: `{"rl": {"clip": 0.2}}` gives `{"rl.clip": "0.2"}`."""
    nested = parameters.model_dump(mode="json") if isinstance(parameters, BaseModel) else parameters
    return dict(_flatten(nested, ""))


def open_mlflow(uri: str) -> "MlflowClient":
    """A client of the tracking store at `uri`; the folder of an SQLite file is made when it is not there."""
    from mlflow import MlflowClient

    if uri.startswith("sqlite:"):
        make_folder_of(uri)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def mlflow_answering(what: str) -> Iterator[None]:
    """Turns the errors of MLflow, and of its database, into Unavailable; `what` was asked for."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise Unavailable(f"MLflow must answer for {what!r}; it said {error}. Check that it is up and the address right.") from error
    except DBAPIError as error:
        raise Unavailable(
            f"MLflow's database must be readable and writable; for {what!r} it said {error.orig}. "
            "Free some space, or restore the database from a backup."
        ) from error


def _experiment_id(client: "MlflowClient", tracking: Tracking) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(tracking.experiment)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(tracking.experiment, artifact_location=tracking.artifacts))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        # Another process made it between the question and the answer.
        return _experiment_id(client, tracking)


def _flatten(nested: Mapping[str, JsonValue], prefix: str) -> Iterator[tuple[str, str]]:
    for name, parameter in nested.items():
        if isinstance(parameter, dict):
            yield from _flatten(parameter, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(parameter)
