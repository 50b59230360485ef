"""How a customer takes what the agent proposes: agreed, wrong in a value, another one than they chose, or not what they came for."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from pydantic import JsonValue

from agentgym.environments.customer_profile import Choice, Errand, Fact
from agentgym.environments.recording import result_of
from agentgym.environments.spoken import Words, is_telling, label, leaves, name_words, plain
from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool
from agentgym.traces.matching import canonical

# Shared by a word's forms: room and rooms, passenger and passengers.
_STEM = 5
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is wrong with a proposal; nothing where all of it is empty.

    wrong: facts it contradicts.   is_another: it offers another one than the customer chose.   is_needless: nobody asked for it.
    """

    wrong: tuple[Fact, ...] = ()
    is_another: bool = False
    is_needless: bool = False


def judge_offer(words: Words, errand: Errand, *, tools: Sequence[Tool], messages: Sequence[Message]) -> Verdict:
    """What the customer thinks of a proposal for this errand.   messages: of the episode, whose results tell what else was on offer."""
    on_offer = [pair for message in messages if message.role == "tool" for pair in leaves(result_of(message))]
    properties = {name: schema for tool in tools if tool.name == errand.tool for name, schema in tool.properties.items()}
    rivals = [list(_rivals(fact, properties.get(fact.name), on_offer)) for fact in errand.facts]
    wrong = tuple(fact for fact, others in zip(errand.facts, rivals, strict=True) if _is_contradicted(fact, words, errand, others))
    return Verdict(
        wrong=wrong,
        is_another=not wrong and any(_is_another(choice, words, on_offer) for choice in errand.choices),
        is_needless=not wrong and _is_for_another_tool(words, errand, tools),
    )


def wrong_facts(call: ToolCall, errand: Errand) -> tuple[Fact, ...]:
    """The facts that a call of the errand's tool was made against."""
    given: dict[str, set[str]] = {}
    for name, value in leaves(call.arguments):
        given.setdefault(name, set()).add(canonical(value))
    return tuple(fact for fact in errand.facts if canonical(fact.value) not in given.get(fact.name, set()))


def _rivals(fact: Fact, schema: JsonValue, on_offer: Sequence[tuple[str, JsonValue]]) -> Iterator[JsonValue]:
    """Other values the same argument could have: listed in its schema, wanted before, or in what the tools told."""
    listed = schema.get("enum") if isinstance(schema, dict) else None
    name = fact.name.rpartition(".")[2]
    told = (value for path, value in on_offer if path.rpartition(".")[2] == name)
    return (value for value in chain(listed if isinstance(listed, list) else (), (fact.instead_of,), told) if value is not None)


def _is_contradicted(fact: Fact, words: Words, errand: Errand, rivals: Sequence[JsonValue]) -> bool:
    if words.says(fact.value) or words.resembles(fact.value):
        return False
    if any(is_telling(rival) and canonical(rival) != canonical(fact.value) and words.spells(rival) for rival in rivals):
        return True
    value = canonical(fact.value)
    if _ISO_DATE.fullmatch(value):
        is_only_date = sum(bool(_ISO_DATE.fullmatch(canonical(other.value))) for other in errand.facts) == 1
        return is_only_date and any(_ISO_DATE.fullmatch(meant) for meant in words.meant)
    return value.isdecimal() and len(value) < 3 and _counts_otherwise(fact.name, value, words)


def _counts_otherwise(name: str, value: str, words: Words) -> bool:
    """Whether a small number beside the argument's name is another one: `1 passenger` for two."""
    for stem in (word.removesuffix("s")[:_STEM] for word in name_words(label(name)) if len(word) > 3):
        for near in re.findall(rf" (\S+ {re.escape(stem)}\w*(?: \S+)?) ", plain(words.text)):
            numbers = {meant for meant in Words(text=near, today=words.today, read=words.read).meant if meant.isdecimal()}
            if numbers and value not in numbers:
                return True
    return False


def _is_another(choice: Choice, words: Words, on_offer: Sequence[tuple[str, JsonValue]]) -> bool:
    if not is_telling(choice.value) or words.says(choice.value):
        return False
    name = choice.name.rpartition(".")[2]
    return any(path.rpartition(".")[2] == name and is_telling(value) and words.says(value) for path, value in on_offer)


def _is_for_another_tool(words: Words, errand: Errand, tools: Sequence[Tool]) -> bool:
    """Whether the words name what another tool does, and not what the errand's does."""
    verbs = {tool.name: name_words(tool.name.rpartition(".")[2])[:1] for tool in tools}
    named = {name for name, verb in verbs.items() if verb and words.spells(verb[0])}
    return bool(named) and errand.tool not in named and verbs.get(errand.tool or "") not in [verbs[name] for name in named]
