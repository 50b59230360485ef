"""The recorded customer: says what was said while the agent does what was done, and improvises from its facts when it does not."""

import re
from collections.abc import Sequence

import numpy as np
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.conversation import UserTurn
from agentgym.environments.recording import Playhead
from agentgym.messages import Message, ToolCall
from agentgym.traces.matching import canonical_arguments

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_QUESTION = re.compile(r"\?|\bplease (?:tell|give|provide|confirm|share)\b", re.IGNORECASE)


class RecordedCustomer:
    """A `SimulatedUser` with the goal and the facts of a recorded customer.

    On the record it replies as recorded, and the recorded agent's words stand in for the generated ones. Off the record, which is when
    the agent speaks while the record calls a tool, it corrects a wrong call, answers from its facts, or says again what it wants;
    a question it has no fact for is the simulator's error. It leaves after `patience_turns` such turns in an episode.
    """

    def __init__(self, playhead: Playhead, *, patience_turns: int) -> None:
        self._playhead = playhead
        self._patience_turns = patience_turns

    def open(self, case: Case, rng: np.random.Generator) -> str:
        self._case = case
        self._turns_off_record = 0
        self._annoyances = 0
        self._told: set[str] = set()
        self._last_words = self._playhead.recording.first_words
        return self._last_words

    def reply(self, words: str, *, messages: Sequence[Message], is_closed: bool) -> UserTurn:
        if self._playhead.due_calls:
            return self._improvised(words, messages)
        turn = self._playhead.go_on()
        if turn is None:
            return UserTurn(content=None, has_left=True)
        self._last_words = turn.reply or self._last_words
        return UserTurn(content=turn.reply, has_left=self._playhead.turn is None, agent_words=turn.words or None)

    @property
    def annoyances(self) -> int:
        return self._annoyances

    def _improvised(self, words: str, messages: Sequence[Message]) -> UserTurn:
        self._turns_off_record += 1
        if self._turns_off_record > self._patience_turns:
            self._annoyances += 1
            return UserTurn(content=None, has_left=True)
        correction = self._correction(messages)
        if not correction and _QUESTION.search(words):
            return self._answer(words)
        self._annoyances += 1
        return UserTurn(content=correction or f"As I said: {self._last_words}")

    def _correction(self, messages: Sequence[Message]) -> str:
        """What the customer says of a call just made with other values than theirs; empty when there was none, or they cannot tell."""
        due = {recorded.call.name: recorded.call for recorded in self._playhead.due_calls}
        attempt = next((call for call in _latest_calls(messages) if call.name in due), None)
        if attempt is None:
            return ""
        given, wanted = canonical_arguments(attempt.arguments), canonical_arguments(due[attempt.name].arguments)
        facts = self._facts()
        wrong = [_told(name, facts[name]) for name in wanted if name in facts and given.get(name) != wanted[name]]
        needless = [f"the {_label(name)} does not matter" for name in given if name not in wanted]
        return f"No, {' and '.join(wrong + needless)}." if wrong or needless else ""

    def _answer(self, words: str) -> UserTurn:
        facts, descriptions = self._facts(), self._descriptions()
        asked = [name for name in facts if _is_asked(words, name, descriptions.get(name, ""))]
        # "Which city?" is about the call that is due, even when an argument of another call has a name as fitting.
        asked = [name for name in asked if name in descriptions] or asked
        if not asked:
            return UserTurn(content=f"I do not know that. {self._last_words}", is_simulator_error=True)
        self._annoyances += self._told.issuperset(asked)
        self._told.update(asked)
        return UserTurn(content=f"It is like this: {' and '.join(_told(name, facts[name]) for name in asked)}.")

    def _facts(self) -> dict[str, JsonValue]:
        """What the customer tells by now, the latest value of each argument: nobody speaks of what they will want later."""
        calls = [recorded.call for recorded in (*self._playhead.calls_so_far, *self._playhead.due_calls)]
        return {name: value for call in calls for name, value in call.arguments.items() if name in self._case.facts}

    def _descriptions(self) -> dict[str, str]:
        """Of the arguments of the calls that are due, by name."""
        due = {recorded.call.name for recorded in self._playhead.due_calls}
        tools = self._case.recording.tools if self._case.recording else ()
        return {name: str(schema.get("description", "")) for tool in tools if tool.name in due for name, schema in tool.properties.items()}


def _latest_calls(messages: Sequence[Message]) -> list[ToolCall]:
    """Calls since the customer spoke, the latest first."""
    calls: list[ToolCall] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        calls += reversed(message.tool_calls)
    return calls


def _told(name: str, value: JsonValue) -> str:
    shown = ", ".join(map(str, value)) if isinstance(value, list) else value
    return f"the {_label(name)} is {shown}"


def _label(name: str) -> str:
    """An argument's name as people say it."""
    return " ".join(_words(name))


def _is_asked(words: str, name: str, description: str) -> bool:
    """Whether the agent's words name the argument, or hold at least half of what describes it."""
    # Words of up to three letters hold a sentence together and name nothing.
    said, described = set(_words(words)), {word for word in _words(description) if len(word) > 3}
    return said.issuperset(_words(name)) or (bool(described) and 2 * len(described & said) >= len(described))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
