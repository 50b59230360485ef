"""What any policy has to beat on recorded dialogues: one that always talks, and a bag of words with logistic regression.

Both are deterministic, and know nothing of dates, corrections or what the customer has confirmed. That is their use.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_predict

from agentgym.episode import Action, Conversation, Policy
from agentgym.errors import InsufficientData
from agentgym.evaluation.next_call import Step, recorded_steps
from agentgym.messages import Message, ToolCall, assistant
from agentgym.tools import Tool
from agentgym.traces.matching import canonical
from agentgym.traces.trace import Trace

_WORD = re.compile(r"[a-z]+|\d+")
_NAME_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_FOLDS = 3
# More traces make a bag of words slower, hardly better.
_MOST_TRACES = 1500
_PROPER_NAME = re.compile(r"[A-Z][\w'&-]*(?: [A-Z][\w'&-]*)*")


def fit_floors(train: Sequence[Trace], *, tools: Sequence[Tool] = ()) -> dict[str, Policy]:
    """The floors by name; `tools` are in scope where a trace does not say. Raises InsufficientData as `BagOfWords.fit` does."""
    return {"always_talk": AlwaysTalk(), "tfidf_logistic_regression": BagOfWords.fit(train, tools=tools)}


class AlwaysTalk:
    """Never calls a tool, which is right in more than half of all turns."""

    def act(self, conversation: Conversation) -> Action:
        return Action(message=assistant())


@dataclass(frozen=True)
class BagOfWords:
    """TF-IDF and logistic regression over every tool in scope: call the likeliest one, if it is likely enough.

    A tool is known by the verb its name begins with and by how alike its description is to what was said, so that one never seen in
    training is judged as any other. Arguments are copied from what was said or found before.
    """

    words: TfidfVectorizer
    descriptions: TfidfVectorizer
    model: LogisticRegression
    threshold: float
    copier: "_Copier"

    @classmethod
    def fit(cls, train: Sequence[Trace], *, tools: Sequence[Tool] = ()) -> "BagOfWords":
        """Learns from every assistant step of `train`. Raises InsufficientData unless some of them call a tool and some talk."""
        steps = [step for trace in train[:_MOST_TRACES] for step in recorded_steps(trace, tools) if step.conversation.tools]
        calls = [step for step in steps if any(_is_called(tool, step) for tool in step.conversation.tools)]
        if not calls or len(calls) == len(steps):
            raise InsufficientData(
                f"A floor learns from turns that call a tool and turns that talk; got {len(calls)} and {len(steps) - len(calls)}. "
                "Bring traces with both."
            )
        conversations = [step.conversation for step in steps]
        words = TfidfVectorizer(analyzer=_tokens, sublinear_tf=True, min_df=3 if len(steps) > 100 else 1).fit(_options(conversations))
        descriptions = TfidfVectorizer(analyzer=_stems, sublinear_tf=True).fit(_documents(steps))
        rows = _features(words, descriptions, conversations)
        is_called = np.array([_is_called(tool, step) for step in steps for tool in step.conversation.tools])
        model = LogisticRegression(C=10.0, max_iter=100)
        threshold = _best_threshold(model, rows, is_called)
        return cls(words, descriptions, model.fit(rows, is_called), threshold, _Copier.fit(calls))

    def act(self, conversation: Conversation) -> Action:
        if not conversation.tools:
            return Action(message=assistant())
        (chances,) = self.chances([conversation])
        tool = conversation.tools[int(np.argmax(chances))]
        if chances.max() < self.threshold:
            return Action(message=assistant())
        return Action(message=assistant("", ToolCall(name=tool.name, arguments=self.copier.copy(tool, conversation.messages))))

    def chances(self, conversations: Sequence[Conversation]) -> list[NDArray[np.float64]]:
        """How likely each tool in scope is called now, in 0–1, shape (tools of the conversation,) each; every scope has a tool."""
        likely = self.model.predict_proba(_features(self.words, self.descriptions, conversations))[:, 1]
        return np.split(likely, np.cumsum([len(conversation.tools) for conversation in conversations])[:-1])


@dataclass(frozen=True)
class _Copier:
    """Values of arguments, copied: the latest mention of a known value, else what an earlier call or result has under the name."""

    known: Mapping[str, Sequence[JsonValue]] = field(default_factory=dict)

    @classmethod
    def fit(cls, steps: Sequence[Step]) -> "_Copier":
        known: dict[str, dict[str, JsonValue]] = defaultdict(dict)
        for step in steps:
            for call in step.recorded:
                for name, value in call.arguments.items():
                    known[name].setdefault(canonical(value), value)
        return cls({name: list(values.values()) for name, values in known.items()})

    def copy(self, tool: Tool, messages: Sequence[Message]) -> dict[str, JsonValue]:
        """An optional argument is left out unless somebody mentioned a value of it since it was last given."""
        arguments: dict[str, JsonValue] = {}
        for name, schema in tool.properties.items():
            value = self._mentioned(name, schema, messages, taken=list(arguments.values()))
            if value is None and name in tool.required:
                value = _earlier_value(name, messages)
                value = _latest_proper_name(messages) if value is None else value
            if value is not None:
                arguments[name] = value
        return arguments

    def _mentioned(self, name: str, schema: Mapping[str, JsonValue], messages: Sequence[Message], taken: Sequence[JsonValue]) -> JsonValue:
        listed = schema.get("enum")
        values = listed if isinstance(listed, list) else [*self.known.get(name, ()), *_found_values(name, messages)]
        stems = {str(value): " ".join(_stems(str(value))) for value in values}
        for message in reversed(messages):
            if any(name in call.arguments for call in message.tool_calls):
                return None
            if message.role in ("user", "assistant") and message.content:
                text = f" {' '.join(_stems(message.content))} "
                mentioned = [value for value in values if f" {stems[str(value)]} " in text and value not in taken]
                if mentioned:
                    return max(mentioned, key=lambda value: len(str(value)))
        return None


def _tokens(option: tuple[Conversation, Tool]) -> Iterator[str]:
    """Words of the last turns and what happened last, each alone and beside the tool's verb."""
    conversation, tool = option
    verb = next(iter(_name_words(tool.name.rpartition(".")[2])), "")
    for token in _said(conversation):
        yield token
        yield f"{verb}|{token}"


def _said(conversation: Conversation) -> Iterator[str]:
    """Words of the last turn of each side, who was last, and the words of the latest call's name."""
    for mark, role in (("u", "user"), ("a", "assistant")):
        yield from (f"{mark}:{word}" for word in _stems(_last_content(conversation.messages, role)))
    yield f"last:{conversation.messages[-1].role if conversation.messages else 'nobody'}"
    yield from (f"call:{word}" for call in _calls(conversation.messages)[-1:] for word in _name_words(call.name.rpartition(".")[2]))


def _features(words: TfidfVectorizer, descriptions: TfidfVectorizer, conversations: Sequence[Conversation]) -> csr_matrix:
    """A row for every tool in scope of every conversation: tokens, likeness to what was said, relation to the latest call."""
    options = _options(conversations)
    owners = np.repeat(np.arange(len(conversations)), [len(conversation.tools) for conversation in conversations])
    tools = descriptions.transform([_description(tool) for _, tool in options])
    said = (
        [_last_content(conversation.messages, "user") for conversation in conversations],
        [_last_content(conversation.messages, "assistant") for conversation in conversations],
        [" ".join(message.content for message in conversation.messages if message.role == "user") for conversation in conversations],
    )
    likeness = [csr_matrix(tools.multiply(descriptions.transform(texts)[owners]).sum(axis=1)) for texts in said]
    return hstack([words.transform(options), *likeness, csr_matrix(_relations(options))], format="csr")


def _relations(options: Sequence[tuple[Conversation, Tool]]) -> NDArray[np.float64]:
    """Whether each tool is the latest one called, and whether it is of the same service, shape (options, 2)."""
    latest = [_calls(conversation.messages)[-1:] for conversation, _ in options]
    pairs = [(tool, call[0].name if call else "") for (_, tool), call in zip(options, latest, strict=True)]
    return np.array([[tool.name == name, tool.service == name.rpartition(".")[0]] for tool, name in pairs], dtype=float)


def _options(conversations: Sequence[Conversation]) -> list[tuple[Conversation, Tool]]:
    return [(conversation, tool) for conversation in conversations for tool in conversation.tools]


def _is_called(tool: Tool, step: Step) -> bool:
    return any(call.name == tool.name for call in step.recorded)


def _best_threshold(model: LogisticRegression, rows: csr_matrix, is_called: NDArray[np.bool_]) -> float:
    """Where F1 is highest on options the model was not fitted on; a half where too few are called to leave some out."""
    if is_called.sum() < 2 * _FOLDS:
        return 0.5
    chances = cross_val_predict(model, rows, is_called, cv=_FOLDS, method="predict_proba")[:, 1]
    return float(max(np.linspace(0.2, 0.6, 9), key=lambda threshold: f1_score(is_called, chances >= threshold)))


def _documents(steps: Sequence[Step]) -> list[str]:
    """Descriptions of the tools and all latest words, for the weights of words."""
    tools = {tool.name: tool for step in steps for tool in step.conversation.tools}
    return [*map(_description, tools.values()), *(_last_content(step.conversation.messages, "user") for step in steps)]


def _description(tool: Tool) -> str:
    arguments = (f"{name} {schema.get('description', '')}" for name, schema in tool.properties.items())
    return " ".join([" ".join(_name_words(tool.name)), tool.description, *arguments])


def _found_values(name: str, messages: Sequence[Message]) -> Iterator[JsonValue]:
    """What the results have under this name."""
    for message in messages:
        rows = message.result if isinstance(message.result, list) else [message.result]
        yield from (row[name] for row in rows if isinstance(row, dict) and row.get(name) is not None)


def _earlier_value(name: str, messages: Sequence[Message]) -> JsonValue:
    """What the latest call gave under this name, else the first that a result has; None when nobody has it."""
    given = [call.arguments[name] for call in _calls(messages) if name in call.arguments]
    return given[-1] if given else next(_found_values(name, messages), None)


def _latest_proper_name(messages: Sequence[Message]) -> str | None:
    """The latest capitalised words of the customer that do not begin a sentence."""
    for message in reversed(messages):
        if message.role == "user":
            names = [found.group() for found in _PROPER_NAME.finditer(message.content) if found.start() > 0]
            if names:
                return names[-1]
    return None


def _last_content(messages: Sequence[Message], role: str) -> str:
    return next((message.content for message in reversed(messages) if message.role == role and message.content), "")


def _calls(messages: Sequence[Message]) -> list[ToolCall]:
    return [call for message in messages for call in message.tool_calls]


def _stems(text: str) -> list[str]:
    """Words without a plural's s."""
    return [word.removesuffix("s") if len(word) > 3 else word for word in _WORD.findall(text.lower())]


def _name_words(name: str) -> list[str]:
    return [part.lower() for part in _NAME_PART.findall(name)]
