"""Results that are a sentence, a number or nothing, the same each time but for the arguments they name; refusals are such too."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson
from pydantic import JsonValue

from agentgym.environments.result_shapes import KEPT_BY, SEEN_OFTEN_ENOUGH
from agentgym.messages import ToolCall
from agentgym.traces.matching import call_key

# A single character occurs in a text by chance.
TELLING_LENGTH = 2
# Names of arguments inside a template; no JSON text holds this character.
_NAMED = re.compile("\x00(.*?)\x00")

_Pairs = Sequence[tuple[ToolCall, JsonValue]]


class ResultTexts:
    """What each tool says when it succeeds, where that follows from the call; and what it says when it refuses."""

    def __init__(self, answered: Mapping[str, _Pairs], refused: Iterable[tuple[ToolCall, JsonValue]]) -> None:
        """answered: recorded calls that succeeded, by tool.   refused: those that did not."""
        by_tool: defaultdict[str, list[tuple[ToolCall, JsonValue]]] = defaultdict(list)
        for call, result in refused:
            by_tool[call.name].append((call, result))
        results = [result for pairs in by_tool.values() for _, result in pairs]
        self._are_objects = 2 * sum(isinstance(result, dict) for result in results) >= len(results)
        self._said = {tool: template for tool, pairs in answered.items() if (template := _common(pairs)) is not None}
        self._found_nothing = {tool for tool, pairs in answered.items() if any(result == [] for _, result in pairs)}
        self._refusals = {tool: [template for template, _ in _templates(pairs).most_common()] for tool, pairs in by_tool.items()}

    def says(self, call: ToolCall) -> tuple[JsonValue] | None:
        """What the tool says to this call, alone in a tuple as it may be null; None when it does not follow from the call."""
        template = self._said.get(call.name)
        return None if template is None else _filled(template, call)

    def refuses(self, call: ToolCall) -> JsonValue:
        """The most frequent refusal of this tool that the call can fill, or the empty list it gave when it found nothing.

        A tool that never did either refuses in the form that the others use.
        """
        for template in self._refusals.get(call.name, ()):
            if (filled := _filled(template, call)) is not None:
                return filled[0]
        if call.name in self._found_nothing:
            return []
        message = f"{call.name} found nothing for these arguments."
        return {"error": message} if self._are_objects else f"Error: {message}"


def _common(pairs: _Pairs) -> str | None:
    """The template of nearly all these results; None when they are objects or lists, differ, or come from too few different calls."""
    if any(isinstance(result, dict | list) for _, result in pairs) or len({call_key(call) for call, _ in pairs}) < SEEN_OFTEN_ENOUGH:
        return None
    template, count = _templates(pairs).most_common(1)[0]
    return template if count >= KEPT_BY * len(pairs) else None


def _templates(pairs: _Pairs) -> Counter[str]:
    """How often each text is said, with the values of arguments replaced by their names."""
    return Counter(_template(call, result) for call, result in pairs)


def _template(call: ToolCall, result: JsonValue) -> str:
    values: dict[str, str] = {}
    for name, text in _leaves(call.arguments):
        if len(text) >= TELLING_LENGTH:
            values.setdefault(text, name)
    written = orjson.dumps(result).decode()
    if not values:
        return written
    longest_first = sorted(values, key=len, reverse=True)
    named = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    return named.sub(lambda found: f"\x00{values[found[0]]}\x00", written)


def _filled(template: str, call: ToolCall) -> tuple[JsonValue] | None:
    """The result, alone in a tuple; None when the call lacks an argument that the template names."""
    values: dict[str, str] = {}
    for name, text in _leaves(call.arguments):
        values.setdefault(name, text)
    if any(name not in values for name in _NAMED.findall(template)):
        return None
    return (orjson.loads(_NAMED.sub(lambda found: values[found[1]], template)),)


def _leaves(value: JsonValue, name: str = "") -> Iterator[tuple[str, str]]:
    """Texts and numbers anywhere in the arguments, as JSON writes them, each with the name it stands under."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    elif isinstance(value, str):
        yield name, orjson.dumps(value).decode()[1:-1]
    elif value is not None and not isinstance(value, bool):
        yield name, orjson.dumps(value).decode()
