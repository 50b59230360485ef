from pathlib import Path

import pytest

from agentgym.errors import InvalidInput
from agentgym.scenarios.world_scenario import read_world

LIBRARY = (Path(__file__).parents[1] / "worlds" / "lending_library" / "world.yaml").read_text()


def declared(folder: Path, *changes: tuple[str, str]) -> Path:
    text = LIBRARY
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    (folder / "world.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("{call: find_book, with", "{call: buy_book, with", "intent borrow names the tool 'buy_book'"),
        ("tables: [books, slips]", "tables: [books, shelves]", "intent borrow names the table 'shelves'"),
        ("facts: [title, days]", "facts: [title, weight]", "intent borrow names the fact 'weight'"),
        ("tools: [lend, reserve]", "tools: [lend, steal]", "guideline find_first names the tool 'steal'"),
        ("before: lend,", "before: borrow,", "habit finds_twice names the tool 'borrow'"),
        ("book.state == 'out', call", "book.state = 'out', call", "one whole formula"),
        ("=choose([7, 14])", "=__import__('os')", "is none of them"),
        ("returns: {lent:", "returns: {error:", "reads as a failed call"),
        ("{update: slip, set: {status: lent}}", "{set: {status: lent}}", "either updates a row or inserts"),
        ("max_turns: 8", "max_turns: 0", "greater than or equal to 1"),
        ("difficulty: easy\nbriefing", "difficulty: trivial\nbriefing", "difficulty"),
        ("max_turns: 8", "max_turns: 8\nmotto: read", "Extra inputs"),
    ],
)
def test_a_mistake_in_a_declaration_is_named(tmp_path: Path, before: str, after: str, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        read_world(declared(tmp_path, (before, after)))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"max_turns.*tools\.find_book\.seconds"):
        read_world(declared(tmp_path, ("max_turns: 8", "max_turns: 0"), ("seconds: 1", "seconds: -1")))


def test_a_part_is_declared_once(tmp_path: Path) -> None:
    declared(tmp_path)
    (tmp_path / "more.yaml").write_text("rules: {longest_loan_days: 14}")
    with pytest.raises(InvalidInput, match="repeats rules"):
        read_world(tmp_path)


@pytest.mark.parametrize("text", ["name: [unclosed", "- a list", ""])
def test_a_file_that_is_no_declaration_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "world.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=r"world\.yaml"):
        read_world(tmp_path)


def test_a_folder_without_a_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="declared completely"):
        read_world(tmp_path / "nowhere")
