"""The Ray Serve application: identical replicas, each a gateway that holds every live version and decides the split by itself."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.applications import Starlette

from agentgym.serving.endpoint import build_endpoint
from agentgym.serving.gateway import Gateway
from agentgym.serving.loading import engine_loader
from agentgym.serving.plan import TrafficPlan

DEPLOYMENT = "replica"


class ReplicaOptions(BaseModel):
    """What does not change while an endpoint runs.   database_url: of the exposures.   replicas: how many, all alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str = Field(min_length=1)
    database_url: str
    replicas: int = Field(default=1, ge=1, le=1000)
    torch_threads: int = Field(default=1, ge=1, le=256)


def _gateway_of_this_replica() -> Gateway:
    replica: Any = serve.get_replica_context().servable_object
    gateway: Gateway = replica.gateway
    return gateway


def _endpoint_of_this_replica() -> Starlette:
    return build_endpoint(_gateway_of_this_replica)


@serve.deployment(
    name=DEPLOYMENT,
    max_ongoing_requests=512,
    ray_actor_options={"num_cpus": 0},
    health_check_period_s=2,
    graceful_shutdown_timeout_s=5,
    graceful_shutdown_wait_loop_s=0.2,
    logging_config=LoggingConfig(enable_access_log=False, log_level="WARNING"),
)
@serve.ingress(_endpoint_of_this_replica)
class Replica:
    """A gateway inside Ray Serve; the plan comes as `user_config`, which changes it without a restart."""

    def __init__(self, options: dict[str, Any]) -> None:
        given = ReplicaOptions.model_validate(options)
        torch.set_num_threads(given.torch_threads)
        self.gateway = Gateway(given.agent, given.database_url, engine_loader(os.environ), clock=lambda: datetime.now(UTC))

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Follows the plan. It never raises for a plan that cannot be followed: Serve would take down a replica that serves."""
        await self.gateway.follow(TrafficPlan.model_validate(user_config))

    def check_health(self) -> None:
        """Serve asks; a replica that cannot keep what it answers is replaced."""
        if not self.gateway.is_alive:
            raise RuntimeError("The thread that keeps what is answered has ended.")

    def state(self) -> dict[str, Any]:
        return asdict(self.gateway.state)


def build_application(options: Mapping[str, Any]) -> serve.Application:
    """The application of these `ReplicaOptions`; Serve finds it by its import path."""
    given = ReplicaOptions.model_validate(dict(options))
    return Replica.options(num_replicas=given.replicas).bind(given.model_dump())  # type: ignore[attr-defined,no-any-return]
