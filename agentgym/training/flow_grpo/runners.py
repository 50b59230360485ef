"""The processes that play: groups go out in shares, samples come back, and what a process lost when it died is played again."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event
from time import monotonic

from ray.rllib.env.env_runner_group import EnvRunnerGroup

from agentgym.errors import AgentGymError, ContractBroken, Unavailable
from agentgym.training.flow_grpo.env_runner import GroupEnvRunner
from agentgym.training.flow_grpo.rollouts import Draw, Sample

# How often the groups of one order may go out without any of them coming back.
ATTEMPTS = 5
# How long a cluster may take to start a process in place of the last one that died.
RESTART_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """Groups that are played together; with the same weights, wherever they are played, they give the same rollouts."""

    number: int
    draws: tuple[Draw, ...]
    seed: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """A share that was played, whole."""

    number: int
    sample: Sample


@dataclass(frozen=True, kw_only=True, slots=True)
class Newborn:
    """A process that took the place of one that died and has not been given the weights yet: it has not played."""

    born: str


Answer = Played | Newborn | AgentGymError


class Order:
    """Groups that were sent out, and what has come back of them.   name: tells its answers from those of other orders."""

    def __init__(self, name: str, draws: Sequence[Draw], *, seed: tuple[int, ...], shares: int) -> None:
        # Worker numbers start at 1, and so do the last numbers of seeds; 0 is for what is played in the process that learns.
        split = [Share(number=place, draws=tuple(draws[place::shares]), seed=(*seed, place + 1)) for place in range(shares)]
        self.name = name
        self.missing = {share.number: share for share in split if share.draws}
        self.samples: dict[int, Sample] = {}

    def take(self, played: Played) -> None:
        """Keeps a share that came back; a second copy of one is left aside, so that no group counts twice."""
        if self.missing.pop(played.number, None) is not None:
            self.samples[played.number] = played.sample

    def sample(self) -> Sample:
        return sum((self.samples[number] for number in sorted(self.samples)), Sample()).by_group()


class Runners:
    """RLlib's group of environment runners, with orders in place of steps.

    sync: gives the newest weights to the workers of these numbers.
    """

    def __init__(self, group: EnvRunnerGroup, *, sync: Callable[[list[int]], None]) -> None:
        self._group = group
        self._sync = sync
        self._known = frozenset(group.foreach_env_runner(lambda runner: runner.born, local_env_runner=False))

    def send(self, order: Order) -> None:
        """Sends what is missing of the order, at most one share to a worker; workers take orders in the order they were sent."""
        workers = self._alive()
        shares = list(order.missing.values())[: len(workers)]
        calls = [partial(_play, share=share, known=self._known) for share in shares]
        self._group.foreach_env_runner_async(calls, tag=order.name, remote_worker_ids=workers[: len(calls)])

    def collect(self, order: Order) -> Sample:
        """Waits for the whole order. What died with a worker is sent to another one, or to the one that is started in its place.

        Raises what a worker could not play; Unavailable when nothing comes back of what is sent, time and again.
        """
        attempts = 0
        while order.missing:
            missing = len(order.missing)
            answers: list[tuple[int, Answer]] = self._group.fetch_ready_async_reqs(tags=order.name, timeout_seconds=None)
            for worker, answer in answers:
                self._take(order, worker, answer)
            attempts = 0 if len(order.missing) < missing else attempts + 1
            if attempts > ATTEMPTS:
                raise Unavailable(
                    f"Groups must come back from the processes that play; {len(order.missing)} shares were sent {ATTEMPTS} times and every "
                    "process died over them. Look for what ends them, most often memory, and run again."
                )
            if order.missing:
                self.send(order)
        return order.sample()

    def _take(self, order: Order, worker: int, answer: Answer) -> None:
        if isinstance(answer, AgentGymError):
            raise answer
        if isinstance(answer, Newborn):
            self._sync([worker])
            self._known |= {answer.born}
        else:
            order.take(answer)

    def _alive(self) -> list[int]:
        """Workers that can be sent something; waits for a restart where there is none."""
        until, waiting = monotonic() + RESTART_SECONDS, Event()
        while not self._group.healthy_worker_ids():
            if monotonic() > until:
                raise Unavailable(
                    f"A process that plays must be started in place of one that died; none was in {RESTART_SECONDS:.0f} seconds. "
                    "Look for what ended them and whether the cluster has room, then run again."
                )
            waiting.wait(0.5)
            self._group.probe_unhealthy_env_runners()
        return list(self._group.healthy_worker_ids())


def _play(runner: GroupEnvRunner, *, share: Share, known: frozenset[str]) -> Answer:
    """Errors are returned: RLlib ends a worker whose call raises and starts it again, and the reason would be lost with it."""
    if runner.born not in known:
        return Newborn(born=runner.born)
    try:
        return Played(number=share.number, sample=runner.sample(draws=share.draws, seed=share.seed))
    except AgentGymError as error:
        return error
    except Exception as error:
        return ContractBroken(
            f"A policy must act in every conversation it is shown; one raised {type(error).__name__}: {error}. "
            f"Report it with what follows.\n{traceback.format_exc()}"
        )
