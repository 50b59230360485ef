"""How a tool's results follow from its arguments, learnt from recorded calls: what it repeats, what it always says, what its rows hold."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from agentgym.messages import ToolCall
from agentgym.traces.matching import canonical

# A rule needs this many recorded calls that keep it, and at least this share of those it applies to.
SEEN_OFTEN_ENOUGH = 3
KEPT_BY = 0.9
# Under another name a value is repeated only by chance unless it varies: this many distinct values.
VARIED = 3

_Told = tuple[ToolCall, dict[str, JsonValue]]
"""A call and one row of what it got."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultShape:
    """What the results of one tool have in common.

    is_object, is_list: whether they are objects, or lists of objects; neither when they are something else.   longest: rows in the longest
    list.   always: fields that every row has.   fields: all that any has, in their order.   repeats: the argument that a field repeats.   tends: fields that
    repeat the argument of their name in most calls, not in nearly all: a booking at another time than asked.   defaults: what a field says
    when the argument of its name is left out.   constants: fields with one value in all rows.   order: the field that every list is sorted by.
    key: the field in which the rows of every list differ.
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


def learn_shape(answered: Sequence[tuple[ToolCall, JsonValue]]) -> ResultShape:
    """The shape of one tool's results; `answered`: its recorded calls that succeeded, with what they got."""
    results = [result for _, result in answered]
    is_object = all(isinstance(result, dict) for result in results)
    is_list = all(isinstance(result, list) and all(isinstance(row, dict) for row in result) for result in results)
    if not is_object and not is_list:
        return ResultShape()
    pairs = [(call, row) for call, result in answered for row in rows_of(result)]
    counts = Counter(name for _, row in pairs for name in row)
    repeats, tends = _repeats(pairs, counts)
    return ResultShape(
        is_object=is_object,
        is_list=is_list,
        longest=max((len(rows_of(result)) for result in results), default=0),
        always=frozenset(name for name, count in counts.items() if count == len(pairs)),
        fields=tuple(counts),
        repeats=repeats,
        tends=tends,
        defaults=_defaults(pairs, counts),
        constants=_constants(answered, counts),
        order=_order(results, counts),
        key=_key(results, counts),
    )


def rows_of(result: JsonValue) -> list[dict[str, JsonValue]]:
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else [result] if isinstance(result, dict) else []


def _repeats(pairs: Sequence[_Told], fields: Iterable[str]) -> tuple[dict[str, str], frozenset[str]]:
    """Which argument each field repeats: the one of its own name where the calls bear that out, else another whose values vary.

    The second are the fields that repeat the argument of their own name in most calls.
    """
    tries: Counter[tuple[str, str]] = Counter()
    hits: Counter[tuple[str, str]] = Counter()
    values: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for call, row in pairs:
        given = {name: canonical(value) for name, value in call.arguments.items() if value is not None}
        for name, value in row.items():
            told = canonical(value)
            for argument, text in given.items():
                tries[name, argument] += 1
                if told == text:
                    hits[name, argument] += 1
                    if len(values[name, argument]) < VARIED:
                        values[name, argument].add(text)
    kept = {pair for pair, count in hits.items() if count >= KEPT_BY * tries[pair]}
    others: defaultdict[str, list[str]] = defaultdict(list)
    for name, argument in kept:
        if len(values[name, argument]) >= VARIED:
            others[name].append(argument)
    repeats = {name: name for name in fields if (name, name) in kept}
    repeats |= {name: arguments[0] for name, arguments in others.items() if name not in repeats and len(arguments) == 1}
    return repeats, frozenset(name for name in fields if name not in repeats and 2 * hits[name, name] > tries[name, name])


def _defaults(pairs: Sequence[_Told], fields: Iterable[str]) -> dict[str, JsonValue]:
    """What each field says where an argument of its name exists and the call leaves it out."""
    arguments = {name for call, _ in pairs for name in call.arguments}
    said: defaultdict[str, Counter[str]] = defaultdict(Counter)
    told: dict[tuple[str, str], JsonValue] = {}
    for call, row in pairs:
        for name in arguments.intersection(row).difference(call.arguments):
            text = canonical(row[name])
            said[name][text] += 1
            told.setdefault((name, text), row[name])
    usual = {name: counts.most_common(1)[0] for name, counts in said.items()}
    enough = {name: text for name, (text, count) in usual.items() if count >= max(SEEN_OFTEN_ENOUGH, KEPT_BY * said[name].total())}
    return {name: told[name, text] for name, text in enough.items() if name in set(fields)}


def _constants(answered: Sequence[tuple[ToolCall, JsonValue]], fields: Iterable[str]) -> dict[str, JsonValue]:
    """Fields that say the same in all rows of enough different calls."""
    calls: defaultdict[str, set[str]] = defaultdict(set)
    texts: defaultdict[str, set[str]] = defaultdict(set)
    told: dict[str, JsonValue] = {}
    for call, result in answered:
        for row in rows_of(result):
            for name, value in row.items():
                if len(texts[name]) < 2:
                    texts[name].add(canonical(value))
                    told.setdefault(name, value)
                if len(calls[name]) < SEEN_OFTEN_ENOUGH:
                    calls[name].add(canonical(call.arguments))
    return {name: told[name] for name in fields if len(texts[name]) == 1 and len(calls[name]) >= SEEN_OFTEN_ENOUGH}


def _order(results: Sequence[JsonValue], fields: Iterable[str]) -> str | None:
    """The field whose texts ascend in every list, the one with most distinct values; None when there is none or too few lists tell."""
    lists = [rows for result in results if len(rows := rows_of(result)) > 1]
    if len(lists) < SEEN_OFTEN_ENOUGH:
        return None
    sorted_by = []
    for name in sorted(fields):
        columns = [[str(row.get(name)) for row in rows] for rows in lists]
        if all(column == sorted(column) for column in columns):
            sorted_by.append((sum(len(set(column)) for column in columns), name))
    varied = max(sorted_by, default=None)
    return varied[1] if varied and varied[0] > len(lists) else None


def _key(results: Sequence[JsonValue], fields: Iterable[str]) -> str | None:
    """The field that tells the rows of every list apart, the one with most distinct values."""
    lists = [rows for result in results if len(rows := rows_of(result)) > 1]
    distinct = []
    for name in sorted(fields):
        columns = [[canonical(row.get(name)) for row in rows] for rows in lists]
        if lists and all(len(set(column)) == len(column) for column in columns):
            distinct.append((len({text for column in columns for text in column}), name))
    return max(distinct)[1] if distinct else None
