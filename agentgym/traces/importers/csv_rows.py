"""CSV: one message a row, with a header that a mapping refers to."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from agentgym.errors import InvalidInput
from agentgym.traces.importers.files import file_name, open_log
from agentgym.traces.importers.json_values import CONVERT, MAX_VALUE_CHARACTERS, binary_kind, refuse_database, refuse_utf_16
from agentgym.traces.importers.mapping_file import read_mapping
from agentgym.traces.importers.reading import Log, Place
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.rows import Row, RowMapping, require_columns, row_conversations

CSV_SUFFIXES = (".csv", ".tsv")


def read_csv(log: Log) -> Iterator[Record | RejectedLine]:
    """The conversations of CSV files; one may go on from the end of a file to the beginning of the next."""
    if log.mapping is None:
        raise InvalidInput(
            "Rows need a mapping that says what their columns mean; none was given. Give a mapping (--mapping); docs/06-logs.md has one."
        )
    mapping = read_mapping(log.mapping, RowMapping)
    yield from row_conversations((row for file in log.files for row in _rows(file, file_name(file, log.root), mapping)), mapping)


def _rows(file: Path, name: str, mapping: RowMapping) -> Iterator[Row]:
    with open_log(file) as opened:
        _refuse_binary(file, opened.read(1 << 10))
    # The module's own bound of 131,072 characters is shorter than many results; there is one for the whole process.
    csv.field_size_limit(MAX_VALUE_CHARACTERS)
    with open_log(file) as opened:
        # Bytes that are no UTF-8 cost their row, not the file.
        text = io.TextIOWrapper(opened, "utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(text, delimiter=mapping.delimiter, strict=True)
        row = Row(place=Place(source=name, line=1), cells={})
        try:
            header = next(reader, [])
            if header:
                require_columns(mapping.columns, header, str(file))
            while True:
                place = Place(source=name, line=reader.line_num + 1)
                if (cells := next(reader, None)) is None:
                    return
                if cells:
                    fault, readable = _fault(cells, header, place), map(_readable, cells)
                    row = Row(place=place, cells=dict(zip(header, readable, strict=False)), fault=fault)
                    yield row
        except csv.Error as error:
            # It belongs to the conversation that was being read, which is not whole.
            fault = f"A log must be CSV; {error} in {name}:{reader.line_num}. The rest of the file cannot be read."
            yield Row(place=row.place, cells=row.cells, fault=fault)


def _fault(cells: list[str], header: list[str], place: Place) -> str | None:
    if len(cells) != len(header):
        return f"A row has a cell for each of the {len(header)} columns; {place} has {len(cells)}."
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return f"A log must be UTF-8; {place} is not. {CONVERT}"
    return None


def _readable(cell: str) -> str:
    return cell if cell.isascii() else cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _refuse_binary(file: Path, head: bytes) -> None:
    refuse_database(file, head)
    if looks := binary_kind(head):
        raise InvalidInput(f"Rows are read from CSV; {str(file)!r} looks like {looks}. Export it as CSV.")
    refuse_utf_16(file, head)
