"""What makes a function a step of AgentGym: typed, retried only when that can help, and not done twice."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.client.schemas.objects import State, TaskRun

from agentgym.errors import Unavailable
from tasks.caching import InputDigest
from tasks.progress import stage

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

RETRY_DELAYS_SECONDS = [1.0, 5.0]


def step(function: Callable[Parameters, Result]) -> Task[Parameters, Result]:
    """A task that always runs: it looks at, or moves, something outside the store."""

    @wraps(function)
    def told(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        with stage(function.__name__.replace("_", " ")):
            return function(*args, **kwargs)

    retried = task(
        retries=len(RETRY_DELAYS_SECONDS),
        retry_delay_seconds=RETRY_DELAYS_SECONDS,
        retry_condition_fn=_may_succeed_later,
    )
    return retried(told)


def cached_step(function: Callable[Parameters, Result]) -> Task[Parameters, Result]:
    """A task that runs once for equal inputs, for as long as what it made is there; its result holds references only."""
    return step(function).with_options(cache_policy=InputDigest(), persist_result=True, result_serializer="json")


def _may_succeed_later(_: Task[Any, Any], __: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), Unavailable)
