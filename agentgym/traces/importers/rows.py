"""Conversations in the rows of a table, one message in each, as a mapping says what the columns mean."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby, islice
from typing import Any, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field

from agentgym.episode import Outcome
from agentgym.errors import InvalidInput
from agentgym.messages import Role
from agentgym.traces.importers.reading import Place
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.shapes import NotAConversation
from agentgym.traces.importers.turns import Turn, joined, read_turns

# Longer than any conversation, so that rows which all bear one name cannot fill the memory.
MAX_ROWS = 100_000
_ROLES = get_args(Role)


class OutcomeColumn(BaseModel):
    """Where it stands how a conversation ended, and in which words. values: ours for each of theirs; null where it says nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    values: dict[str, Outcome | None]


class Columns(BaseModel):
    """Which column holds what; None where no column does.

    tool_name, arguments, result: of a call.   order: what the rows of a conversation are sorted by, when not by how they come.
    outcome: a column of our own words, or one with what its words mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversation_id: str
    role: str
    content: str | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    arguments: str | None = None
    result: str | None = None
    timestamp: str | None = None
    customer_id: str | None = None
    outcome: str | OutcomeColumn | None = None
    satisfaction_score: str | None = None
    order: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        columns = (getattr(self, name) for name in type(self).model_fields)
        return tuple(column.column if isinstance(column, OutcomeColumn) else column for column in columns if column is not None)


class RowMapping(BaseModel):
    """What the columns of rows mean. roles: ours for each value of the role column that is another; None for rows that are not said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Columns
    roles: dict[str, Role | None] = {}
    delimiter: str = Field(default=",", min_length=1, max_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """JSON values by column, and where the row is. fault: why it cannot be used; None when it can."""

    place: Place
    cells: dict[str, Any]
    fault: str | None = None


def require_columns(columns: Columns, found: Sequence[str], where: str) -> None:
    """Raises InvalidInput when the mapping names columns that are not there, or that are there twice."""
    if absent := [name for name in dict.fromkeys(columns.names) if name not in found]:
        near = [(name, match) for name in absent for match in get_close_matches(name, found, n=1)]
        repair = f"Did you mean {', '.join(f'{match!r} for {name!r}' for name, match in near)}?" if near else "Mend the mapping."
        raise InvalidInput(
            f"A mapping names columns that the rows have; {', '.join(map(repr, absent))} {'are' if len(absent) > 1 else 'is'} not among "
            f"those of {where}: {', '.join(map(repr, found))}. {repair}"
        )
    if twice := next((name for name in columns.names if list(found).count(name) > 1), None):
        raise InvalidInput(f"A column has a name of its own; {where} has {twice!r} more than once. Rename one of them.")


def row_conversations(rows: Iterable[Row], mapping: RowMapping) -> Iterator[Record | RejectedLine]:
    """The conversations of rows, of which only one is in memory at a time, beside 16 bytes for each that was read.

    Raises InvalidInput when a conversation goes on after another one began.
    """
    seen, column = set[bytes](), mapping.columns.conversation_id
    for name, group in groupby(rows, key=lambda row: _text(row.cells.get(column))):
        if name is None:
            yield from (
                row.place.rejected(row.fault or f"A row belongs to a conversation; its column {column!r} is empty.") for row in group
            )
            continue
        whole = list(islice(group, MAX_ROWS + 1))
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:16]
        if digest in seen:
            raise InvalidInput(
                f"The rows of a conversation must follow each other; those of {name!r} go on at {whole[0].place}. "
                f"Sort the rows by {column!r} first."
            )
        seen.add(digest)
        yield _conversation(name, whole, mapping)


def _conversation(name: str, rows: list[Row], mapping: RowMapping) -> Record | RejectedLine:
    place, columns = rows[0].place, mapping.columns
    try:
        if fault := next((row.fault for row in rows if row.fault), None):
            raise NotAConversation(fault)
        if len(rows) > MAX_ROWS:
            raise NotAConversation(f"A conversation has at most {MAX_ROWS:,} rows; this one has more.")
        ordered = _ordered(rows, columns.order)
        turns = joined(read_turns(turn for row in ordered for turn in _turns(row, mapping)))
    except NotAConversation as error:
        return place.rejected(str(error), name)
    moments = [moment for row in ordered if (moment := _text(_cell(row, columns.timestamp)))]
    return place.record(
        turns,
        conversation_id=name,
        customer_id=_last(ordered, columns.customer_id),
        outcome=_outcome(ordered, columns.outcome),
        satisfaction_score=_number(_last(ordered, columns.satisfaction_score)),
        started_at=moments[0] if moments else None,
        ended_at=moments[-1] if moments else None,
    )


def _ordered(rows: list[Row], order: str | None) -> list[Row]:
    """By number where every row has one, else by text, in which dates of one form stand in order too.

    Raises NotAConversation where a row says nothing of its place, or some say it by number and some by text: any order would be a guess.
    """
    if order is None or len(rows) < 2:
        return rows
    keys = [_text(_cell(row, order)) or "" for row in rows]
    numbers = [_number(key) for key in keys]
    if odd := next((row for row, key in zip(rows, keys, strict=True) if not key), None):
        raise NotAConversation(f"Every row says in {order!r} where it stands in its conversation; the one in {odd.place} does not.")
    are_text = [isinstance(number, str) for number in numbers]
    if any(are_text) and not all(are_text):
        odd, key = rows[are_text.index(True)], keys[are_text.index(True)]
        raise NotAConversation(f"Rows are in order by numbers, or by dates; {order!r} in {odd.place} is {key!r} beside numbers.")
    by: Sequence[Any] = keys if are_text[0] else numbers
    return [row for _, row in sorted(zip(by, rows, strict=True), key=lambda pair: pair[0])]


def _turns(row: Row, mapping: RowMapping) -> list[Turn]:
    """What a row says and does, in the chat form. Words beside a call and its result speak of the result, so they come after it."""
    columns = mapping.columns
    spoken = _text(_cell(row, columns.role)) or ""
    role = mapping.roles.get(spoken, spoken)
    if role is None:
        return []
    if role not in _ROLES:
        raise NotAConversation(f"A role is one of {', '.join(_ROLES)}, or mapped to one; {spoken!r} in {row.place} is not.")
    words, tool = _text(_cell(row, columns.content)) or "", _text(_cell(row, columns.tool_name))
    arguments, result, call_id = (_cell(row, column) for column in (columns.arguments, columns.result, columns.tool_call_id))
    answer = {"role": "tool", "tool_call_id": _text(call_id), **({} if tool is None else {"name": tool})}
    call = {"role": "assistant", "tool_calls": [{"id": _text(call_id), "function": {"name": tool, "arguments": arguments}}]}
    if role == "tool":
        answered = answer | {"content": words if result is None else result}
        return [call, answered] if tool is not None and arguments is not None else [answered]
    if role != "assistant" or tool is None:
        return [{"role": role, "content": words}]
    if result is None:
        return [call | {"content": words}]
    return [call, answer | {"content": result}, *([{"role": role, "content": words}] if words else [])]


def _cell(row: Row, column: str | None) -> Any:
    """What stands in a column; None where nothing does."""
    value = row.cells.get(column) if column is not None else None
    return None if value == "" else value


def _outcome(rows: Sequence[Row], told: str | OutcomeColumn | None) -> str | None:
    """What is not among the values stays as it is, for validation to name."""
    if not isinstance(told, OutcomeColumn):
        return _last(rows, told)
    said = _last(rows, told.column)
    return told.values.get(said, said) if said is not None else None


def _last(rows: Sequence[Row], column: str | None) -> str | None:
    return next((text for row in reversed(rows) if (text := _text(_cell(row, column))) is not None), None)


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _number(text: str | None) -> float | str | None:
    """The number that a text writes; other text stays, for validation to name."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
