"""The least of a recorded conversation on which an agent still fails, and in which what is right can still be known.

What is right is the accepted record: the calls it makes. An agent fails at the first of them that it does not make. Turns, and then
messages, are taken out of the record while it fails at the same call, as long as the recorded agent itself stays right in what is left
and every value it gives can be known from what is left as it could before.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

from pydantic import JsonValue

from agentgym.environments.play import play_episode
from agentgym.episode import Outcome, Policy, Trajectory
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.messages import Message
from agentgym.scenarios.fidelity.whole import are_about_the_same, customer_words
from agentgym.scenarios.from_traces import RECORDED, RecordedScenario, recorded_case
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.regressions.delta_debugging import MOST_TESTS, ddmin
from agentgym.scenarios.regressions.regression import LEAST, Regression
from agentgym.scenarios.value_sources import Sources, value_sources
from agentgym.tools import Tool
from agentgym.traces.mining import answered_calls, mine_tools
from agentgym.traces.own_words import EXACT, CallKeys
from agentgym.traces.trace import Trace

_WORD = re.compile(r"\w+")
_FAILED = (Outcome.UNRESOLVED, Outcome.ABANDONED)
Unit = tuple[Message, ...]


def regression_of_version(
    trace: Trace, policy: Policy, *, name: str, keys: CallKeys = EXACT, seed: int = 0, most_tests: int = MOST_TESTS
) -> Regression:
    """What is left of an accepted conversation on which the version still fails. Raises InvalidInput when it does not fail.

    keys: tell which calls ask for the same.
    """
    if trace.outcome in _FAILED:
        raise InvalidInput(
            f"A version is held against what was right; {trace.conversation_id!r} ended {trace.outcome.value!r}. "
            "Give a conversation that went well."
        )
    trial = _Trial(trace, keys, lambda shorter: _first_missing(play(policy, shorter, keys=keys, seed=seed), shorter, keys))
    if trial.failed_at is None:
        raise InvalidInput(f"A regression case is a failure; {name} makes every call of {trace.conversation_id!r}. Nothing is to be kept.")
    return _minimised(trial, source=trace, found_in=name, most_tests=most_tests)


def regression_of_failure(failed: Trace, traces: Iterable[Trace], *, keys: CallKeys = EXACT, most_tests: int = MOST_TESTS) -> Regression:
    """What is left of the conversation that shows what was right where this one failed: the first call it lacks, and all that call needs.

    traces: the log, in which a conversation of the same customer is looked for that went well and was about the same: what its calls take
    from the customer's words, up to the one that the failed conversation lacks, was said there too. Of several it is the one that agrees
    longest.   keys: tell which calls ask for the same.
    Raises InvalidInput for a conversation that did not fail, InsufficientData when nothing shows what would have been right.
    """
    if failed.outcome not in _FAILED:
        raise InvalidInput(f"A regression case is a failure; {failed.conversation_id!r} is not known to have failed. Choose one that did.")
    made = {keys.of(call) for call, answer in answered_calls(failed.messages) if answer is not None and not answer.is_error}
    good = [trace for trace in traces if trace.outcome not in (*_FAILED, None) and are_about_the_same(trace, failed)]
    candidates = [trace for trace in good if _asks_for(failed, trace, made, keys)]
    trials = [_Trial(trace, keys, lambda shorter: _first_lacking(shorter, made, keys)) for trace in candidates]
    trials = [trial for trial in trials if trial.failed_at is not None and trial.is_sound(trial.trace)]
    if not trials:
        raise InsufficientData(
            f"A regression case needs to know what would have been right; {failed.conversation_id!r} failed, and of the "
            f"{len(candidates)} conversations of {failed.cluster_id!r} about the same that went well none makes a call that it lacks. "
            "Name the version that fails instead."
        )
    best = max(trials, key=lambda trial: sum(key in made for key in trial.due_keys))
    return _minimised(best, source=failed, found_in=failed.agent_version or "the recorded agent", most_tests=most_tests)


def _asks_for(failed: Trace, other: Trace, made: set[str], keys: CallKeys) -> bool:
    """Whether all that the calls of the other conversation take from the customer's words was said in the failed one too; made: as there.

    Calls after the first one that the failed conversation lacks do not count: it need not have come to them.
    """
    said, told = customer_words(failed), customer_words(other)
    lacking = _first_lacking(other, made, keys)
    for call, _ in answered_calls(other.messages):
        if not _words(call.arguments) & told <= said:
            return False
        if keys.of(call) == lacking:
            break
    return True


def _words(value: JsonValue) -> frozenset[str]:
    if isinstance(value, list | dict):
        return frozenset().union(*map(_words, value.values() if isinstance(value, dict) else value))
    return frozenset(_WORD.findall(str(value).casefold()))


def play(policy: Policy, trace: Trace, *, keys: CallKeys, seed: int) -> Trajectory:
    """The policy in this recording, with a customer who leaves where it does not do what the record does."""
    return play_episode(_scenario(trace, keys).create_environment(), policy, recorded_case(trace), seed=seed)


class _Trial:
    """A recording, the call that is failed at, and whether a shorter one is still that failure."""

    def __init__(self, trace: Trace, keys: CallKeys, failing: Callable[[Trace], str | None]) -> None:
        self.trace, self.keys = trace, keys
        self._failing = failing  # the first due call of a recording that the agent does not make; None when it makes all
        self.due_keys = [keys.of(call) for call, answer in answered_calls(trace.messages) if not (answer and answer.is_error)]
        self.failed_at = failing(trace) if self.due_keys else None
        self._sources = {id(call): sources for call, sources in value_sources(trace)}
        self._before = _customers_words_before_calls(trace)

    def still_fails(self, shorter: Trace) -> bool:
        return self.is_sound(shorter) and self._failing(shorter) == self.failed_at

    def is_sound(self, shorter: Trace) -> bool:
        """Whether the recorded agent is right in it, and can know every value it could know before."""
        return self._knows_values(shorter) and _replays_rightly(shorter, self.keys)

    def _knows_values(self, shorter: Trace) -> bool:
        kept = {id(message) for message in shorter.messages}
        calls = value_sources(shorter)
        return bool(calls) and all(
            _is_known(self._sources[id(call)], sources, is_all_said=self._before[id(call)] <= kept) for call, sources in calls
        )


def _is_known(before: Sources, after: Sources, *, is_all_said: bool) -> bool:
    """A value that stood nowhere may have been meant by anything the customer said, so then all of it has to stay."""
    return all(after[path] if origins else is_all_said for path, origins in before.items())


def _customers_words_before_calls(trace: Trace) -> dict[int, set[int]]:
    """By the identity of each call: that of every message of the customer before it."""
    said: set[int] = set()
    before: dict[int, set[int]] = {}
    for message in trace.messages:
        before |= {id(call): set(said) for call in message.tool_calls}
        said |= {id(message)} if message.role == "user" else set()
    return before


def _minimised(trial: _Trial, *, source: Trace, found_in: str, most_tests: int) -> Regression:
    """First whole turns, then messages inside those that are left; what came before the customer spoke always stays."""
    opening, units = _turns(trial.trace)
    shorter, tests, is_minimal = trial.trace, 0, True
    for split in (lambda turns: turns, _parts):
        result = ddmin(split(units), lambda kept: trial.still_fails(_joined(trial.trace, opening, kept)), most_tests=most_tests)
        units, tests, is_minimal = list(result.units), tests + result.tests, is_minimal and result.is_minimal
        shorter = _joined(trial.trace, opening, units)
    call = next(call for message in shorter.messages for call in message.tool_calls if trial.keys.of(call) == trial.failed_at)
    case = recorded_case(
        shorter.model_copy(update={"conversation_id": f"{trial.trace.conversation_id}{LEAST}", "customer_id": source.cluster_id})
    )
    return Regression(
        case=case,
        source=source.conversation_id,
        source_digest=hashlib.sha256(source.model_dump_json().encode()).hexdigest(),
        found_in=found_in,
        what=f"{call.name} is not called as it should be",
        replay=shorter.messages,
        messages_before=len(trial.trace.messages),
        messages_after=len(shorter.messages),
        tests=tests,
        is_minimal=is_minimal,
    )


def _turns(trace: Trace) -> tuple[Unit, list[Unit]]:
    """What came before the customer's first words, then each of their messages with what the agent did after it."""
    starts = [at for at, message in enumerate(trace.messages) if message.role == "user"]
    bounds = zip(starts, [*starts[1:], len(trace.messages)], strict=True)
    return trace.messages[: starts[0]], [trace.messages[start:end] for start, end in bounds]


def _parts(turns: Sequence[Unit]) -> list[Unit]:
    """Single messages; a message with calls and its results are one."""
    parts: list[list[Message]] = []
    for message in (message for turn in turns for message in turn):
        if message.role == "tool" and parts:
            parts[-1].append(message)
        else:
            parts.append([message])
    return [tuple(part) for part in parts]


def _joined(trace: Trace, opening: Unit, units: Iterable[Unit]) -> Trace:
    messages = (*opening, *(message for unit in units for message in unit))
    # A record without a message is none; one that nobody speaks in is refused when it is tried.
    return trace.model_copy(update={"messages": messages or trace.messages[:1]})


def _replays_rightly(trace: Trace, keys: CallKeys) -> bool:
    """Whether the recorded agent is right in everything it does here, and the customer speaks first."""
    if not any(message.role == "user" for message in trace.messages):
        return False
    environment = _scenario(trace, keys).create_environment()
    environment.reset(seed=0, options={"case": recorded_case(trace)})
    for message in trace.messages:
        if message.role == "assistant":
            _, _, is_terminated, is_truncated, _ = environment.step(message)
            if is_terminated or is_truncated:
                break
    played = environment.trajectory(())
    return played.is_success and bool(played.calls) and all(judged.is_correct for judged in played.calls)


def _scenario(trace: Trace, keys: CallKeys) -> RecordedScenario:
    tools: tuple[Tool, ...] = trace.tools or mine_tools([trace])
    case = recorded_case(trace)
    return RecordedScenario(ScenarioPack(scenario=RECORDED, tools=tools, train=(), held_out=(case,), snapshot_digest=""), keys=keys)


def _first_missing(played: Trajectory, trace: Trace, keys: CallKeys) -> str | None:
    """The first call of the record that was not made rightly."""
    made = [keys.of(judged.call) for judged in played.calls if judged.is_correct]
    for call, answer in answered_calls(trace.messages):
        key = keys.of(call)
        if answer is not None and answer.is_error:
            continue
        if key not in made:
            return key
        made.remove(key)
    return None


def _first_lacking(trace: Trace, made: set[str], keys: CallKeys) -> str | None:
    """The first call of the record that is not among those made."""
    due = (keys.of(call) for call, answer in answered_calls(trace.messages) if not (answer and answer.is_error))
    return next((key for key in due if key not in made), None)
