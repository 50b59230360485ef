"""What docs/06-logs.md shows is what is read."""

import json
import re
from pathlib import Path

import pytest

from agentgym.traces.importers import BUILT_IN_FORMATS, Log, import_traces
from agentgym.traces.importers.mapping_file import read_mapping
from agentgym.traces.importers.sql import DatabaseLog
from agentgym.traces.trace import Trace

PAGE = (Path(__file__).parents[2] / "docs" / "06-logs.md").read_text()
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))


def blocks(section: str) -> list[str]:
    return re.findall(r"^```\w+\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_each_example_is_read_as_the_format_it_is_of(tmp_path: Path, name: str) -> None:
    example, *mapping = blocks(SECTIONS[name])
    path, mapping_file = tmp_path / f"log.{'csv' if name == 'csv' else 'json'}", tmp_path / "mapping.json"
    path.write_text(example)
    if name == "sql":
        assert read_mapping(path, DatabaseLog).table == "support.message"
        return
    mapping_file.write_text("".join(mapping))
    (trace,) = import_traces(path, name, mapping=mapping_file if name == "csv" else None)
    assert isinstance(trace, Trace), trace
    assert trace.messages[0].content == "Where is my order?"


def test_every_format_is_in_the_table_and_has_an_example() -> None:
    table = PAGE.partition("\n\n## ")[0]
    assert [name for name in BUILT_IN_FORMATS if f"`{name}`" not in table] == []
    assert set(BUILT_IN_FORMATS) - set(SECTIONS) == {"jsonl", "json", "sgd"}


def test_the_format_of_ones_own_works(tmp_path: Path) -> None:
    namespace: dict[str, object] = {}
    exec(blocks(PAGE.partition("## A format of your own")[2])[0], namespace)
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"id": "n1", "asked": "Hello?", "said": "Hi."}) + "\n3\n")
    notes, rejected = namespace["NOTES"].read(Log(files=[path], root=path))  # type: ignore[attr-defined]
    assert [message["content"] for message in notes.messages] == ["Hello?", "Hi."]
    assert rejected.line == 2
