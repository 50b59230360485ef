"""Whether a version passes the regression cases: failures of the past, which may not come back."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentgym.environments.play import play_episode
from agentgym.episode import Policy
from agentgym.errors import AgentGymError
from agentgym.evaluation.evaluate import episode_seed
from agentgym.scenarios.from_traces import RECORDED, RecordedScenario
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.registry import load_world
from agentgym.scenarios.regressions.regression import Regression
from agentgym.scenarios.scenario import Scenario
from agentgym.traces.mining import mine_tools
from agentgym.verdicts import Check, Subject


class RegressionResult(BaseModel):
    """How one regression case went.   what: the failure it stands for.   error: of a crash, which is no pass; empty without one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regression_id: str
    what: str
    is_passed: bool
    error: str = ""


class RegressionReport(BaseModel):
    """How a version did on every regression case of its agent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: Subject
    results: Annotated[tuple[RegressionResult, ...], Field(min_length=1)]

    @property
    def passed(self) -> frozenset[str]:
        return frozenset(result.regression_id for result in self.results if result.is_passed)


def play_regressions(policy: Policy, regressions: Sequence[Regression], *, subject: Subject, seed: int) -> RegressionReport | None:
    """Plays each case once; it is passed when it is solved. None without cases.   Equal seeds and an equal policy give an equal report."""
    if not regressions:
        return None
    return RegressionReport(subject=subject, results=tuple(_play(policy, regression, seed) for regression in regressions))


def check_regressions(challenger: RegressionReport, champion: RegressionReport | None) -> Check:
    """The gate's question: what the champion passes, the challenger must pass. Without a champion, all of them."""
    required = champion.passed if champion else frozenset(result.regression_id for result in challenger.results)
    broken = [_named(result) for result in challenger.results if result.regression_id in required - challenger.passed]
    solved = [_named(result) for result in challenger.results if result.regression_id in challenger.passed - required]
    gained = f" It also solves what the champion fails: {'; '.join(solved)}." if solved else ""
    total = len(challenger.results)
    whose = f"that {champion.subject.name} passes" if champion else "there are"
    if broken:
        which = f"{len(broken)} of the {len(required)} regression cases {whose}, of {total}"
        statement = f"The challenger fails {which}: {'; '.join(broken)}.{gained}"
        return Check(name="regressions", outcome="failed", statement=statement)
    statement = f"The challenger passes all {len(required)} regression cases {whose}, of {total}.{gained}"
    return Check(name="regressions", outcome="passed", statement=statement)


def regression_checks(challenger: RegressionReport | None, champion: RegressionReport | None) -> Iterator[Check]:
    """No check where the agent has no regression cases."""
    if challenger is not None:
        yield check_regressions(challenger, champion)


def _play(policy: Policy, regression: Regression, seed: int) -> RegressionResult:
    case, environment = regression.case, _scenario(regression).create_environment()
    try:
        played = play_episode(environment, policy, case, seed=episode_seed(seed, 0, case))
    except AgentGymError:
        raise
    except Exception as error:
        # A policy is anybody's code and may raise anything; see evaluate_policy.
        crash = f"{type(error).__name__}: {error}"
        return RegressionResult(regression_id=regression.regression_id, what=regression.what, is_passed=False, error=crash)
    return RegressionResult(regression_id=regression.regression_id, what=regression.what, is_passed=played.is_success)


def _scenario(regression: Regression) -> Scenario:
    case = regression.case
    if case.scenario != RECORDED or case.recording is None:
        return load_world(case.scenario)
    tools = case.recording.tools or mine_tools([case.recording])
    return RecordedScenario(ScenarioPack(scenario=RECORDED, tools=tools, train=(), held_out=(case,), snapshot_digest=""))


def _named(result: RegressionResult) -> str:
    return f"{result.regression_id} ({result.what})"
