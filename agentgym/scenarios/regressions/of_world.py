"""A failure in a declared world: the case as it is, and the least of what the agent did that no right call can mend any more."""

import hashlib
from collections.abc import Sequence

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.environments.play import play_episode
from agentgym.episode import Policy, Trajectory
from agentgym.errors import InvalidInput
from agentgym.messages import Message, assistant
from agentgym.scenarios.regressions.delta_debugging import MOST_TESTS, ddmin
from agentgym.scenarios.regressions.regression import Regression
from agentgym.scenarios.world_scenario import WorldScenario
from agentgym.traces.matching import call_key
from agentgym.traces.trace import Trace

# A call that times out is made again; twice is more than any tool declares.
_ATTEMPTS = 3


def regression_of_trace(scenario: WorldScenario, trace: Trace, *, most_tests: int = MOST_TESTS) -> Regression:
    """The logged conversation as a case to pass. Raises InvalidInput when its customer got what the case asks for."""
    case, played = scenario.case_from_trace(trace), scenario.assess_trace(trace)
    digest = hashlib.sha256(trace.model_dump_json().encode()).hexdigest()
    found_in = trace.agent_version or "the recorded agent"
    seed = int(trace.tags.get("seed", "0"))
    return _minimised(scenario, case, played, seed, source=trace.conversation_id, digest=digest, found_in=found_in, most_tests=most_tests)


def regression_of_case(
    scenario: WorldScenario, case: Case, policy: Policy, *, name: str, seed: int, most_tests: int = MOST_TESTS
) -> Regression:
    """The case on which the version fails. Raises InvalidInput when it solves it."""
    played = play_episode(scenario.create_environment(), policy, case, seed=seed)
    digest = hashlib.sha256(case.model_dump_json().encode()).hexdigest()
    return _minimised(scenario, case, played, seed, source=case.case_id, digest=digest, found_in=name, most_tests=most_tests)


def _minimised(
    scenario: WorldScenario, case: Case, played: Trajectory, seed: int, *, source: str, digest: str, found_in: str, most_tests: int
) -> Regression:
    if played.is_success:
        raise InvalidInput(
            f"A regression case is a failure; {source!r} ended {played.outcome.value!r}, as it should. Choose one that failed."
        )
    environment = scenario.create_environment()
    said = [message for message in played.messages if message.role == "assistant"]
    result = ddmin(said, lambda kept: not _can_be_mended(environment, case, kept, seed), most_tests=most_tests)
    replayed = _replayed(environment, case, result.units, seed)
    return Regression(
        case=case,
        source=source,
        source_digest=digest,
        found_in=found_in,
        what=_what(replayed, played),
        replay=replayed.messages,
        messages_before=len(played.messages),
        messages_after=len(replayed.messages),
        tests=result.tests,
        is_minimal=result.is_minimal,
    )


def _can_be_mended(environment: ConversationEnv, case: Case, said: Sequence[Message], seed: int) -> bool:
    """Whether the case still ends as it should when, after these messages, every due call that is missing is made rightly."""
    has_ended = _step_all(environment, case, said, seed)
    for call in case.expected_calls:
        made = [judged for judged in environment.trajectory(()).calls if judged.is_correct and not judged.is_error]
        for _ in range(_ATTEMPTS if all(judged.call != call for judged in made) else 0):
            if has_ended:
                return environment.trajectory(()).is_success
            _, _, is_terminated, is_truncated, _ = environment.step(assistant("", call))
            has_ended = is_terminated or is_truncated
            if not environment.trajectory(()).calls[-1].is_error:
                break
    return environment.trajectory(()).is_success


def _replayed(environment: ConversationEnv, case: Case, said: Sequence[Message], seed: int) -> Trajectory:
    _step_all(environment, case, said, seed)
    return environment.trajectory(())


def _step_all(environment: ConversationEnv, case: Case, said: Sequence[Message], seed: int) -> bool:
    """Says everything, as far as the episode goes; whether it has ended."""
    environment.reset(seed=seed, options={"case": case})
    for message in said:
        _, _, is_terminated, is_truncated, _ = environment.step(message)
        if is_terminated or is_truncated:
            return True
    return False


def _what(replayed: Trajectory, played: Trajectory) -> str:
    """The wrong calls of the replay, each with what was wrong with it in the whole conversation; else what was left out."""
    at_first = {call_key(judged.call): judged.reason for judged in played.calls if not judged.is_correct}
    wrong = {judged.call.name: at_first.get(call_key(judged.call), judged.reason) for judged in replayed.calls if not judged.is_correct}
    left_out = f"left out: {', '.join(replayed.missing_calls)}" if replayed.missing_calls else f"ended {replayed.outcome.value}"
    return "; ".join(f"{name}: {reason}" for name, reason in wrong.items()) or left_out
