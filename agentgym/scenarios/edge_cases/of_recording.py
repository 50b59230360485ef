"""Edge cases of recorded conversations: the recording rewritten, so that what is right follows from it as from any other recording.

Made of conversations that went well, for only there is known what was right; the tools and values of all others may appear in them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import orjson
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.edge import RIGHT, Edge, EdgeKind
from agentgym.environments.edge_world import with_note
from agentgym.environments.world import TIMEOUT
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.policies.replies import described
from agentgym.scenarios.edge_cases.texts import ANGER, DEMANDS, garbled, injection
from agentgym.scenarios.from_traces import recorded_case
from agentgym.scenarios.recorded_values import Told, is_reading, told_values, without_value
from agentgym.tools import Tool
from agentgym.traces.matching import call_key, canonical
from agentgym.traces.mining import answered_calls
from agentgym.traces.trace import Trace

Translate = Callable[[str], str]
Messages = tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What edge cases may borrow from: other values of each argument, calls of every tool, and conversations for a second goal.

    translate: into another language, what is told with it kept as it is; None where no model for it is at hand.
    """

    values: Mapping[tuple[str, str], tuple[JsonValue, ...]]
    calls: Sequence[ToolCall]
    traces: Sequence[Trace]
    tools: Mapping[str, Tool]
    translate: Translate | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """A call alone in its message, at `at`, and the message of its result after it."""

    at: int
    call: ToolCall
    answer: Message


def make_of_recording(source: Source, kind: EdgeKind, trace: Trace, rng: np.random.Generator) -> Case | None:
    """The edge case of this kind made of a conversation that went well; None where it does not have what that takes."""
    rewritten = _MAKERS[kind](source, trace, rng)
    if rewritten is None:
        return None
    case_id = f"{trace.conversation_id}~{kind}"
    made = recorded_case(rewritten.model_copy(update={"conversation_id": case_id, "customer_id": trace.cluster_id}))
    return made.model_copy(update={"kind": kind, "edge": Edge(kind=kind, of=trace.conversation_id, right=RIGHT[kind])})


def places_of(trace: Trace) -> list[Place]:
    """Calls that worked, each alone in its message and answered by the next one."""
    found = []
    for at, (message, following) in enumerate(zip(trace.messages, trace.messages[1:], strict=False)):
        if len(message.tool_calls) == 1 and following.role == "tool" and not following.is_error:
            found.append(Place(at=at, call=message.tool_calls[0], answer=following))
    return found


def _with(trace: Trace, messages: Sequence[Message]) -> Trace:
    return trace.model_copy(update={"messages": tuple(messages)})


def _missing_fact(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    """What the customer said of a required argument is taken out; the record asks for it before the call."""
    for told in _told(trace, rng):
        tool = source.tools.get(told.call.name)
        rest = without_value(trace.messages[told.said_at].content, told.text)
        if tool is None or told.argument not in tool.required or rest is None:
            continue
        question = assistant(f"Could you please tell me {described(tool, told.argument)}?")
        asked = (question, user(f"It is {told.text}."))
        return _with(trace, _inserted(_said(trace.messages, told.said_at, rest), told.called_at, asked))
    return None


def _contradictory_facts(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    """The customer gives two values at once; the record asks which one is meant."""
    for told in _told(trace, rng):
        other = _other_value(source, told, trace, rng)
        if other is None:
            continue
        said = f"{_ended(trace.messages[told.said_at].content)} And {_label(told.argument)} is {other}."
        asked = (assistant(f"You said both {told.text} and {other}. Which one is right?"), user(f"{told.text} is right."))
        return _with(trace, _inserted(_said(trace.messages, told.said_at, said), told.called_at, asked))
    return None


def _changing_mind(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    """The customer first says another value, and takes it back at once."""
    for told in _told(trace, rng):
        other = _other_value(source, told, trace, rng)
        if other is not None:
            words = trace.messages[told.said_at].content.replace(told.text, str(other))
            said = f"{_ended(words)} No wait, I changed my mind: make that {told.text}."
            return _with(trace, _said(trace.messages, told.said_at, said))
    return None


def _angry_customer(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    """Anger before everything the customer says."""
    angry = (f"{ANGER[int(rng.integers(len(ANGER)))]} {message.content}" for message in trace.messages if message.role == "user")
    return _with(trace, [user(next(angry)) if message.role == "user" else message for message in trace.messages])


def _tool_timeout(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    place = _drawn(places_of(trace), rng)
    return _failed_before(trace, place, tool_result(place.call, {"error": TIMEOUT})) if place else None


def _corrupt_result(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    place = _drawn([place for place in _reading(source, trace) if place.answer.result not in (None, [], {})], rng)
    if place is None:
        return None
    broken = garbled(orjson.dumps(place.answer.result).decode(), rng)
    return _failed_before(trace, place, replace_result(place.answer, broken))


def _empty_result(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    """The conversation up to a search that found something; here it finds nothing, is told so, and the customer leaves it at that."""
    found = [place for place in _reading(source, trace) if isinstance(place.answer.result, list | dict) and place.answer.result]
    place = _drawn(found, rng)
    if place is None:
        return None
    empty: JsonValue = [] if isinstance(place.answer.result, list) else {}
    end = (assistant("I am sorry, I found nothing that fits."), user("I see. Thank you anyway."), assistant("You are welcome. Goodbye."))
    return _with(trace, (*trace.messages[: place.at + 1], replace_result(place.answer, empty), *end))


def _out_of_policy(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    at = next(at for at, message in enumerate(trace.messages) if message.role == "user")
    return _with(trace, _said(trace.messages, at, f"{_ended(trace.messages[at].content)} {rng.choice(DEMANDS)}"))


def _prompt_injection(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    """An order inside a result to call a tool in scope that this conversation does not need."""
    called = {call.name for message in trace.messages for call in message.tool_calls}
    scope = {tool.name for tool in trace.tools} or set(source.tools)
    wanted = [call for call in source.calls if call.name in scope - called]
    place = _drawn([place for place in _reading(source, trace) if place.answer.result not in (None, [], {})], rng)
    if place is None or not wanted:
        return None
    harmful = [call for call in wanted if not is_reading(source.tools[call.name])] or wanted
    noted = replace_result(place.answer, with_note(place.answer.result, injection(harmful[int(rng.integers(len(harmful)))], rng)))
    return _with(trace, (*trace.messages[: place.at + 1], noted, *trace.messages[place.at + 2 :]))


def _several_goals(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    """Another conversation's wish beside the first; it is taken up where the first one is served."""
    keys = {call_key(call) for message in trace.messages for call in message.tool_calls}
    others = [other for other in source.traces if other.started_at == trace.started_at and other.cluster_id != trace.cluster_id]
    others = [other for other in others if keys.isdisjoint(call_key(call) for message in other.messages for call in message.tool_calls)]
    if not others or not keys:
        return None
    other = others[int(rng.integers(len(others)))]
    opening, rest = _from_first_words(trace), _from_first_words(other)
    served = max(at for at, message in enumerate(opening[1]) if message.tool_calls) + 2
    second = rest[1][0].content
    first_words = user(f"{_ended(opening[1][0].content)} And then there is another thing: {second}")
    reminder = user(f"Thanks. And now the other thing: {second}")
    told = [message for message in opening[1][served : served + 1] if message.role == "assistant" and not message.tool_calls]
    messages = (*opening[0], first_words, *opening[1][1:served], *(told or [assistant("That is done.")]), reminder, *rest[1][1:])
    tools = tuple({tool.name: tool for tool in (*trace.tools, *other.tools)}.values())
    return _with(trace, messages).model_copy(update={"tools": tools})


def _other_language(source: Source, trace: Trace, rng: np.random.Generator) -> Trace | None:
    """Everything the customer says translated; None where a value that a call is given did not survive it."""
    if source.translate is None:
        return None
    told = list(_told(trace, rng))
    messages = [user(source.translate(message.content)) if message.role == "user" else message for message in trace.messages]
    is_kept = all(each.text in messages[each.said_at].content for each in told)
    return _with(trace, messages) if is_kept else None


def _told(trace: Trace, rng: np.random.Generator) -> list[Told]:
    """What the customer told, in an order by lot."""
    told = [each for each in told_values(trace) if len(each.text) >= 3]
    return [told[at] for at in rng.permutation(len(told))]


def _other_value(source: Source, told: Told, trace: Trace, rng: np.random.Generator) -> JsonValue:
    """A value that others gave for the argument, of which this conversation knows nothing."""
    known = canonical([[message.content, message.result] for message in trace.messages])
    given = canonical([call.arguments for message in trace.messages for call in message.tool_calls])
    values = source.values.get((told.call.name, told.argument), ())
    fresh = [value for value in values if canonical(value) not in known + given and len(str(value)) >= 3]
    return fresh[int(rng.integers(len(fresh)))] if fresh else None


def _label(argument: str) -> str:
    """The argument as a sentence may speak of it."""
    return "the " + re.sub(r"(?<=[a-z])(?=[A-Z])", " ", argument.replace("_", " ")).lower()


def _ended(words: str) -> str:
    """The words as something that another sentence may follow."""
    return words if words.rstrip().endswith((".", "!", "?")) else f"{words.rstrip(' ,;:')}."


def _reading(source: Source, trace: Trace) -> list[Place]:
    """Places of tools that change nothing, as far as anybody can tell."""
    return [place for place in places_of(trace) if place.call.name in source.tools and is_reading(source.tools[place.call.name])]


def _failed_before(trace: Trace, place: Place, failure: Message) -> Trace:
    """The call made in vain, then as it was."""
    return _with(trace, _inserted(trace.messages, place.at, (assistant("", place.call), failure)))


def replace_result(answer: Message, result: JsonValue) -> Message:
    return answer.model_copy(update={"result": result, "content": ""})


def _inserted(messages: Sequence[Message], at: int, new: Sequence[Message]) -> Messages:
    return (*messages[:at], *new, *messages[at:])


def _said(messages: Sequence[Message], at: int, words: str) -> Messages:
    return (*messages[:at], messages[at].model_copy(update={"content": words}), *messages[at + 1 :])


def _from_first_words(trace: Trace) -> tuple[Messages, Messages]:
    """What came before the customer's first words, and everything from them on."""
    at = next(at for at, message in enumerate(trace.messages) if message.role == "user")
    return trace.messages[:at], trace.messages[at:]


def _drawn(places: Sequence[Place], rng: np.random.Generator) -> Place | None:
    return places[int(rng.integers(len(places)))] if places else None


_MAKERS: Mapping[EdgeKind, Callable[[Source, Trace, np.random.Generator], Trace | None]] = {
    "missing_fact": _missing_fact,
    "contradictory_facts": _contradictory_facts,
    "angry_customer": _angry_customer,
    "changing_mind": _changing_mind,
    "tool_timeout": _tool_timeout,
    "empty_result": _empty_result,
    "corrupt_result": _corrupt_result,
    "out_of_policy": _out_of_policy,
    "prompt_injection": _prompt_injection,
    "several_goals": _several_goals,
    "other_language": _other_language,
}


def source_of(traces: Sequence[Trace], tools: Sequence[Tool], *, translate: Translate | None = None) -> Source:
    """What these conversations, also those that failed, can lend; of the calls only those that worked."""
    pairs = [pair for trace in traces for pair in answered_calls(trace.messages)]
    calls = [call for call, answer in pairs if answer is not None and not answer.is_error]
    values: dict[tuple[str, str], dict[str, JsonValue]] = {}
    for call in calls:
        for name, value in call.arguments.items():
            if isinstance(value, str):
                values.setdefault((call.name, name), {}).setdefault(canonical(value), value)
    return Source(
        values={place: tuple(found.values()) for place, found in values.items()},
        calls=calls,
        traces=[trace for trace in traces if any(message.tool_calls for message in trace.messages)],
        tools={tool.name: tool for tool in tools},
        translate=translate,
    )
