"""What calls change: tools after which the recordings tell something else of the same thing."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from agentgym.environments.result_rows import DEEPEST_ROW, Row, Told
from agentgym.environments.result_shapes import ResultShape, rows_of
from agentgym.traces.matching import canonical

# Without a read before and after it, a tool is taken for one that writes when so many of its results differ from an earlier read.
DIFFERING_RESULTS = 3
# A result shows the thing that was read when it has this share of its fields; another read of it, of something else, has few.
SAME_KIND = 0.8
# A field is changed by a tool when it is after at least this share of its calls.
CHANGED_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """What a tool changes.

    names: the fields that identify the thing.   changed: fields that read differently afterwards.   arguments: those among them that then
    read as the argument of that name, by field.   constants: those that then read the same, whatever was called.
    """

    names: frozenset[str]
    changed: frozenset[str]
    arguments: Mapping[str, str]
    constants: Mapping[str, JsonValue]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewritten:
    """A result after calls that write.   is_known: whether all that they changed in it is known."""

    result: JsonValue
    is_known: bool


class WriteEffects:
    """Learns which tools write, and applies what they wrote in an episode to what is read later."""

    def __init__(self, shapes: Mapping[str, ResultShape]) -> None:
        self._shapes = shapes
        self._evidence: defaultdict[tuple[str, frozenset[str]], _Evidence] = defaultdict(_Evidence)
        self._writes: dict[str, list[Write]] = {}

    def learn(self, told: Sequence[Told]) -> None:
        """told: the calls of one recording that succeeded, oldest first."""
        for at, later in enumerate(told):
            for before, after in self._reads_around(told, at):
                self._evidence[later.call.name, frozenset(before.asked)].add(before, later, after)

    def conclude(self) -> None:
        """Call once after all recordings were learnt from."""
        for (tool, names), evidence in self._evidence.items():
            if write := evidence.conclusion(names):
                self._writes.setdefault(tool, []).append(write)

    def is_write(self, tool: str) -> bool:
        return tool in self._writes

    def applied(self, tool: str, asked: Mapping[str, str], result: JsonValue, writes: Sequence[Told]) -> Rewritten:
        """The result of a read as these calls, oldest first, left what it reads; the same object when they changed nothing of it."""
        is_known = True
        for told in writes:
            for write in self._writes.get(told.call.name, ()):
                # What a call of the same tool answers is its own business.
                if told.call.name != tool and write.names <= told.asked.keys():
                    rewriting = _Rewriting(told, write)
                    result = rewriting.of(result, asked)
                    is_known &= rewriting.is_known
        return Rewritten(result=result, is_known=is_known)

    def _reads_around(self, told: Sequence[Told], at: int) -> Iterator[tuple[Told, Told | None]]:
        """Latest reads of each tool, before a call, of a thing that the call names too; each with the next time the same was read."""
        later = told[at]
        seen: set[str] = set()
        for before in reversed(told[:at]):
            tool = before.call.name
            is_of_it = tool not in seen and tool != later.call.name and bool(before.asked) and before.asked.items() <= later.asked.items()
            if is_of_it and self._shapes[tool].is_single and before.rows:
                seen.add(tool)
                again = (each for each in told[at + 1 :] if each.call.name == tool and each.asked == before.asked)
                yield before, next((each for each in again if each.rows), None)


@dataclass(slots=True)
class _Evidence:
    """How often reads differed after a tool's calls, and how its own results differ from earlier reads, by field."""

    reread: int = 0
    reread_changed: Counter[str] = field(default_factory=Counter)
    became: defaultdict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    values: dict[tuple[str, str], JsonValue] = field(default_factory=dict)
    results: int = 0
    result_changed: Counter[str] = field(default_factory=Counter)

    def add(self, before: Told, later: Told, after: Told | None) -> None:
        then = before.rows[0]
        if later.rows and len(then.fields.keys() & later.rows[0].fields.keys()) >= SAME_KIND * len(then.fields):
            self.results += 1
            self.result_changed.update(_differing(then, later.rows[0]))
        if after is not None:
            self.reread += 1
            for name in _differing(then, after.rows[0], also_new=True):
                self.reread_changed[name] += 1
                text = after.rows[0].texts[name]
                self.values[name, text] = after.rows[0].fields[name]
                self.became[name, "constant", text] += 1
                for argument, value in later.call.arguments.items():
                    self.became[name, "argument", argument] += canonical(value) == text

    def conclusion(self, names: frozenset[str]) -> Write | None:
        """What the tool writes; None when reads after it show no change, or when nothing was read and too few results differ."""
        if self.reread:
            changed = {name for name, count in self.reread_changed.items() if count >= CHANGED_SHARE * self.reread}
        elif self.results >= DIFFERING_RESULTS:
            changed = {name for name, count in self.result_changed.items() if count >= CHANGED_SHARE * self.results}
        else:
            changed = set()
        if not changed - names:
            return None
        always = {(name, kind): key for (name, kind, key), count in self.became.items() if count == self.reread_changed[name]}
        arguments = {name: always[name, "argument"] for name in changed if (name, "argument") in always}
        constants = {name: self.values[name, always[name, "constant"]] for name in changed if (name, "constant") in always}
        return Write(names=names, changed=frozenset(changed - names), arguments=arguments, constants=constants)


def _differing(then: Row, now: Row, *, also_new: bool = False) -> list[str]:
    return [
        name for name in now.fields if (then.texts[name] != now.texts[name] if name in then.fields else also_new and name not in then.texts)
    ]


class _Rewriting:
    """One call that writes, applied to a result.   is_known: whether what it changed there is known."""

    def __init__(self, told: Told, write: Write) -> None:
        self.is_known = True
        self._told = told
        self._write = write
        result = told.result
        self._shown: Mapping[str, JsonValue] = result if isinstance(result, dict) else next(iter(rows_of(result)), {})

    def of(self, value: JsonValue, asked: Mapping[str, str], depth: int = 0) -> JsonValue:
        """asked: what holds for the outermost objects though they may not say so."""
        if depth > DEEPEST_ROW or not isinstance(value, dict | list):
            return value
        if isinstance(value, list):
            items = [self.of(item, asked, depth) for item in value]
            return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
        if all(_text(value, name, asked) == self._told.asked[name] for name in self._write.names):
            new = self._news(value)
            return {**value, **new} if any(name not in value or value[name] != item for name, item in new.items()) else value
        fields = {name: self.of(item, {}, depth + 1) for name, item in value.items()}
        return fields if any(fields[name] is not item for name, item in value.items()) else value

    def _news(self, fields: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        """What the thing with these fields reads now: as the call's own result tells, else as calls of its tool left it before."""
        if fields.keys() <= self._shown.keys():
            # The result is the thing itself as the call left it.
            return self._shown
        write, arguments = self._write, self._told.call.arguments
        given = {name: arguments[argument] for name, argument in write.arguments.items() if argument in arguments}
        shown = {name: value for name, value in self._shown.items() if name in write.changed}
        new = {**write.constants, **given, **shown}
        self.is_known &= all(name in new for name in write.changed & fields.keys())
        return new


def _text(fields: Mapping[str, JsonValue], name: str, asked: Mapping[str, str]) -> str | None:
    return canonical(fields[name]) if name in fields else asked.get(name)
