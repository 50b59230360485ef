"""How a tool's results follow from its arguments, learnt from recorded calls: what it repeats, what it always says, what its rows hold."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from agentgym.messages import ToolCall
from agentgym.traces.matching import canonical, canonical_arguments

# A rule needs this many recorded calls that keep it, and at least this share of those it applies to.
SEEN_OFTEN_ENOUGH = 3
KEPT_BY = 0.9
# What a tool's results have in common shows on so many of its calls, taken evenly.
LEARNT_CALLS = 300
# Under another name a value is repeated only by chance unless it varies: this many distinct values.
VARIED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultShape:
    """What the results of one tool have in common.

    is_object, is_list: whether they are objects, or lists of objects; neither when they are something else.   longest: rows in the
    longest list.   always: fields that every row has.   fields: all that any has, in their order.   repeats: the argument that a field
    repeats.   tends: fields that repeat the argument of their name in most calls, not in nearly all: a booking at another time than asked.
    defaults: what a field says when the argument of its name is left out.   constants: fields with one value in all rows.   order: the
    field that every list is sorted by.   key: the field in which the rows of every list differ.
    """

    is_object: bool = False
    is_list: bool = False
    longest: int = 0
    always: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()
    repeats: Mapping[str, str] = field(default_factory=dict)
    tends: frozenset[str] = frozenset()
    defaults: Mapping[str, JsonValue] = field(default_factory=dict)
    constants: Mapping[str, JsonValue] = field(default_factory=dict)
    order: str | None = None
    key: str | None = None

    @property
    def is_single(self) -> bool:
        """Whether a result tells of one thing."""
        return bool(self.always) and (self.is_object or self.is_list) and self.longest <= 1

    @property
    def is_search(self) -> bool:
        return self.is_list and self.longest > 1 and bool(self.always)

    def asked(self, arguments: Mapping[str, JsonValue]) -> dict[str, str]:
        """The fields a row must have to be what is asked for, in canonical form: arguments under the names that rows give them."""
        renamed = {argument: name for name, argument in self.repeats.items() if name not in arguments}
        return {renamed.get(name, name): canonical(value) for name, value in arguments.items() if value is not None}

    def wrap(self, row: dict[str, JsonValue]) -> JsonValue:
        """A result with this one row."""
        return [row] if self.is_list else row


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of a result: the arguments of its call and its own fields, both also in canonical form."""

    call: ToolCall
    given: Mapping[str, str]
    fields: Mapping[str, JsonValue]
    texts: Mapping[str, str]


def learn_shape(answered: Sequence[tuple[ToolCall, JsonValue]]) -> ResultShape:
    """The shape of one tool's results; `answered`: its recorded calls that succeeded, with what they got."""
    results = [result for _, result in answered]
    is_object = all(isinstance(result, dict) for result in results)
    is_list = all(isinstance(result, list) and all(isinstance(row, dict) for row in result) for result in results)
    if not is_object and not is_list:
        return ResultShape()
    lists = [_lines(call, result) for call, result in answered[:: 1 + len(answered) // LEARNT_CALLS]]
    lines = [line for each in lists for line in each]
    counts = Counter(name for result in results for row in rows_of(result) for name in row)
    fields = tuple(counts)
    repeats, tends = _repeats(lines, fields)
    return ResultShape(
        is_object=is_object,
        is_list=is_list,
        longest=max((len(rows_of(result)) for result in results), default=0),
        always=frozenset(name for name, count in counts.items() if count == sum(len(rows_of(result)) for result in results)),
        fields=fields,
        repeats=repeats,
        tends=tends,
        defaults=_defaults(lines),
        constants=_constants(lines),
        order=_order(lists, fields),
        key=_key(lists, fields),
    )


def rows_of(result: JsonValue) -> list[dict[str, JsonValue]]:
    """The rows a result is: itself, or the objects in its list."""
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else [result] if isinstance(result, dict) else []


def _lines(call: ToolCall, result: JsonValue) -> list[_Line]:
    given = canonical_arguments(call.arguments)
    return [_Line(call, given, row, {name: canonical(value) for name, value in row.items()}) for row in rows_of(result)]


def _repeats(lines: Sequence[_Line], fields: Sequence[str]) -> tuple[dict[str, str], frozenset[str]]:
    """Which argument each field repeats: the one of its own name where the calls bear that out, else another whose values vary.

    The second are the fields that repeat the argument of their own name in most calls.
    """
    tries: Counter[tuple[str, str]] = Counter()
    hits: Counter[tuple[str, str]] = Counter()
    values: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for line in lines:
        for name, told in line.texts.items():
            for argument, text in line.given.items():
                tries[name, argument] += 1
                if told == text:
                    hits[name, argument] += 1
                    if len(values[name, argument]) < VARIED:
                        values[name, argument].add(text)
    kept = sorted(pair for pair, count in hits.items() if count >= KEPT_BY * tries[pair])
    others: defaultdict[str, list[str]] = defaultdict(list)
    for name, argument in kept:
        if len(values[name, argument]) >= VARIED:
            others[name].append(argument)
    repeats = {name: name for name in fields if (name, name) in kept}
    repeats |= {name: arguments[0] for name, arguments in others.items() if name not in repeats and len(arguments) == 1}
    return repeats, frozenset(name for name in fields if name not in repeats and 2 * hits[name, name] > tries[name, name])


def _defaults(lines: Sequence[_Line]) -> dict[str, JsonValue]:
    """What each field says where an argument of its name exists and the call leaves it out."""
    arguments = {name for line in lines for name in line.given}
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)
    values: dict[tuple[str, str], JsonValue] = {}
    for line in lines:
        for name in arguments.intersection(line.texts).difference(line.given):
            said[name][line.texts[name]] += 1
            values.setdefault((name, line.texts[name]), line.fields[name])
    usual = {name: counts.most_common(1)[0] for name, counts in sorted(said.items())}
    enough = {name: text for name, (text, count) in usual.items() if count >= max(SEEN_OFTEN_ENOUGH, KEPT_BY * said[name].total())}
    return {name: values[name, text] for name, text in enough.items()}


def _constants(lines: Sequence[_Line]) -> dict[str, JsonValue]:
    """Fields that say the same in all rows of enough different calls."""
    calls: defaultdict[str, set[str]] = defaultdict(set)
    texts: defaultdict[str, set[str]] = defaultdict(set)
    values: dict[str, JsonValue] = {}
    for line in lines:
        for name, text in line.texts.items():
            if len(texts[name]) < 2:
                texts[name].add(text)
                values.setdefault(name, line.fields[name])
            if len(calls[name]) < SEEN_OFTEN_ENOUGH:
                calls[name].add(canonical(line.call.arguments))
    return {name: value for name, value in values.items() if len(texts[name]) == 1 and len(calls[name]) >= SEEN_OFTEN_ENOUGH}


def _order(lists: Sequence[Sequence[_Line]], fields: Sequence[str]) -> str | None:
    """The field whose texts ascend in every list, the one with most distinct values; None when there is none or too few lists tell."""
    telling = [lines for lines in lists if len(lines) > 1]
    if len(telling) < SEEN_OFTEN_ENOUGH:
        return None
    ascending = []
    for name in sorted(fields):
        columns = [[str(line.fields.get(name)) for line in lines] for lines in telling]
        if all(column == sorted(column) for column in columns):
            ascending.append((sum(len(set(column)) for column in columns), name))
    varied = max(ascending, default=None)
    return varied[1] if varied and varied[0] > len(telling) else None


def _key(lists: Sequence[Sequence[_Line]], fields: Sequence[str]) -> str | None:
    """The field that tells the rows of every list apart, the one with most distinct values."""
    telling = [lines for lines in lists if len(lines) > 1]
    apart = []
    for name in sorted(fields):
        columns = [[line.texts.get(name) for line in lines] for lines in telling]
        if telling and all(len(set(column)) == len(column) for column in columns):
            apart.append((len({text for column in columns for text in column}), name))
    return max(apart)[1] if apart else None
