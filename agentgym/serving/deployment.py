"""Starts the application on Ray Serve and hands it plans, declaratively: what changes is `user_config`, never the deployment."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from agentgym.errors import Unavailable
from agentgym.serving.gateway import GatewayState
from agentgym.serving.plan import TrafficPlan
from agentgym.serving.replica import DEPLOYMENT, ReplicaOptions
from agentgym.serving.traffic_log import PlanState

APPLICATION = "agentgym"
OBJECT_STORE_BYTES = 100 * 1024**2
_BUILDER = "agentgym.serving.replica:build_application"


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where the endpoint listens: loopback unless somebody says otherwise."""

    host: str = "127.0.0.1"
    port: int = 8000

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


class ServedApplication:
    """The application on the Ray this process is connected to."""

    def __init__(self, options: ReplicaOptions, address: Address) -> None:
        self._options, self._address = options, address

    def put(self, plan: TrafficPlan) -> None:
        """Tells Serve what every replica shall hold, also those that start later. Raises Unavailable when Serve does not answer."""
        deployment = {"name": DEPLOYMENT, "user_config": plan.model_dump(mode="json")}
        application = {
            "name": APPLICATION,
            "route_prefix": "/",
            "import_path": _BUILDER,
            "args": self._options.model_dump(),
            "deployments": [deployment],
        }
        listening = {"host": self._address.host, "port": self._address.port}
        # Serve's public ways to do this need its dashboard, ten more processes; this is what the dashboard itself calls.
        with _serve_answering():
            client: Any = _get_global_client()
            client.deploy_apps(ServeDeploySchema.model_validate({"http_options": listening, "applications": [application]}))

    def verdict_on(self, epoch: int) -> tuple[PlanState, str | None]:
        """What the replicas made of the plan of this epoch: held by all, refused by one, or still pending; and which version did not load.

        Raises Unavailable when Serve does not answer, or has given the application up.
        """
        states = self._states()
        problem = next((state.problem for state in states if state.problem), None)
        if states and all((state.epoch or 0) >= epoch for state in states):
            return "held", problem
        if any(state.refused_epoch == epoch for state in states):
            return "refused", problem
        self._require_life()
        return "pending", None

    def _states(self) -> list[GatewayState]:
        """What each replica holds; empty unless all of them answer: one that is just being told does not."""
        try:
            answers = serve.get_app_handle(APPLICATION).broadcast("state").results(timeout_s=10)
        except (RayServeException, ray.exceptions.RayError, TimeoutError):
            return []
        return [GatewayState(**answer) for answer in answers] if len(answers) == self._options.replicas else []

    def _require_life(self) -> None:
        with _serve_answering():
            status = serve.status().applications.get(APPLICATION)
        if status is not None and status.status in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY):
            raise Unavailable(f"Ray Serve must start the endpoint; it says {status.status}: {status.message[-800:]}. Look at its log.")


@contextmanager
def _serve_answering() -> Iterator[None]:
    try:
        yield
    except (RayServeException, ray.exceptions.RayError, TimeoutError) as error:
        raise Unavailable(f"Ray Serve must answer; it said {type(error).__name__}: {str(error)[:300]}. Look at Ray's logs.") from error


@contextmanager
def serving_ray(address: Address, *, ray_address: str | None) -> Iterator[None]:
    """Ray Serve listening inside the block, on the cluster at `ray_address`, else on a local Ray of its own.

    Left in order, it ends what it served; left by an error, what a cluster serves goes on. Raises Unavailable when Ray cannot be reached.
    """
    _connect(ray_address)
    try:
        with _serve_answering():
            serve.start(
                proxy_location="HeadOnly", http_options={"host": address.host, "port": address.port}, logging_config=_quiet_logging()
            )
        yield
        if ray_address is not None:
            with _serve_answering():
                serve.delete(APPLICATION)
    finally:
        if ray_address is None:
            serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


def _connect(ray_address: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "serve"}
    try:
        if ray_address is not None:
            ray.init(address=ray_address, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=1,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise Unavailable(
            f"Ray must be reachable at {ray_address or 'this machine'}; it said {error}. Start it, or unset RAY_ADDRESS."
        ) from error


def _quiet_logging() -> dict[str, Any]:
    return {"log_level": "WARNING", "enable_access_log": False}
