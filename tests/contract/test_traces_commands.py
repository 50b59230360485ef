"""`agentgym traces import` and `show`, as somebody types them."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agentgym.cli import main
from agentgym.traces.importers import import_traces
from agentgym.traces.trace import Trace
from agentgym.traces.validation import load_validated

CALL = {"id": "x", "name": "find", "arguments": {"email": "ann@mail.org"}}


def conversation(number: int, **fields: Any) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": "I am ann@mail.org, find [me]."},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "x", "content": "7 found"},
        {"role": "assistant", "content": f"Here are {number}."},
    ]
    tool = {"name": "find", "parameters": {"type": "object", "properties": {"email": {"type": "string"}}}, "writes": False}
    return {"conversation_id": f"c{number}", "messages": messages, "tools": [tool], "outcome": "resolved", **fields}


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten conversations, of which the third cannot be used."""
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(tmp_path / "workspace"))
    conversations = [conversation(number, **({"satisfaction_score": 9} if number == 2 else {"queue": "billing"})) for number in range(10)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(each) + "\n" for each in conversations))
    return tmp_path / "log.jsonl"


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(sys, "argv", ["agentgym", "traces", *map(str, arguments), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


def test_an_imported_log_is_read_as_what_was_accepted(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out" / "traces.jsonl"
    code, answer = told(capsys, monkeypatch, "import", log, "--out", out, "--no-redact")
    assert (code, answer["accepted"], answer["quarantined"], answer["out"]) == (0, 9, 1, str(out))
    assert tuple(import_traces(out, "jsonl")) == load_validated(log, "jsonl").traces


def test_an_imported_log_is_redacted_with_the_secret_of_the_workspace(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outs = [tmp_path / f"{number}.jsonl" for number in range(2)]
    for out in outs:
        assert told(capsys, monkeypatch, "import", log, "--out", out)[1]["redacted"] == {"email": 20}
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert b"ann@mail.org" not in outs[0].read_bytes()


def test_of_a_log_that_is_refused_nothing_is_written(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    code, answer = told(capsys, monkeypatch, "import", log, "--out", tmp_path / "out" / "a.jsonl", "--max-quarantined", "0.05")
    assert (code, answer["error"]["kind"]) == (2, "InvalidInput")
    assert not list((tmp_path / "out").iterdir())


def test_a_file_that_cannot_be_written_is_named(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    code, answer = told(capsys, monkeypatch, "import", log, "--out", tmp_path / "file" / "a.jsonl")
    assert (code, answer["error"]["message"].startswith("The file must be writable")) == (3, True)


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("log.jsonl", "may not take the place of the log"),
        ("folder", "is a folder"),
        ("s3://bucket/log.jsonl", "is in a bucket"),
    ],
)
def test_what_is_read_is_never_written_over(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, out: str, why: str
) -> None:
    (tmp_path / "folder").mkdir(exist_ok=True)
    before = log.read_bytes()
    target = {"log.jsonl": log, "folder": tmp_path / "folder"}.get(out, Path(out))
    code, answer = told(capsys, monkeypatch, "import", log, "--out", target)
    assert (code, why in answer["error"]["message"], log.read_bytes()) == (2, True, before)


def test_what_is_imported_is_compressed_where_its_name_says_so(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("out.jsonl", "out.jsonl.gz"):
        assert told(capsys, monkeypatch, "import", log, "--out", tmp_path / name)[0] == 0
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == (tmp_path / "out.jsonl").read_bytes()


@pytest.mark.parametrize("asked", [("--id", "c4"), ("--number", "5")])
def test_a_conversation_is_shown_by_its_id_or_its_place(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, asked: tuple[str, str]
) -> None:
    code, answer = told(capsys, monkeypatch, "show", log, *asked)
    assert (code, answer["trace"]["conversation_id"], answer["line"]) == (0, "c4", 5)
    assert "ann@mail.org" not in json.dumps(answer)
    assert Trace.model_validate(answer["trace"]).messages[3].content == "Here are 4."


def test_a_conversation_is_shown_with_the_placeholders_of_its_workspace(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told(capsys, monkeypatch, "show", log)
    assert not (tmp_path / "workspace").exists()
    told(capsys, monkeypatch, "import", log, "--out", tmp_path / "out.jsonl")
    shown = told(capsys, monkeypatch, "show", log)[1]["trace"]["messages"][0]["content"]
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["messages"][0]["content"] == shown


@pytest.mark.parametrize(("broken", "is_told"), [(2, False), (3, True)])
def test_a_look_at_a_log_tells_that_other_commands_refuse_it(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, broken: int, is_told: bool
) -> None:
    numbered = [conversation(number, satisfaction_score=9 if number < broken else 5) for number in range(10)]
    log.write_text("".join(json.dumps(each) + "\n" for each in numbered))
    monkeypatch.setattr(sys, "argv", ["agentgym", "traces", "validate", str(log)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert ("At most 20% of a log may be unusable; 30% of this one is" in " ".join(capsys.readouterr().out.split())) == is_told


def test_people_see_who_said_what_with_brackets_as_they_are(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["agentgym", "traces", "show", str(log), "--no-redact"])
    with pytest.raises(SystemExit):
        main()
    lines = capsys.readouterr().out.splitlines()
    assert "user  I am ann@mail.org, find [me]." in lines[2]
    assert 'assistant  → find({"email":"ann@mail.org"})' in lines[3]
    assert "tool find  7 found" in lines[4]


def test_one_that_cannot_be_used_says_why(log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, answer = told(capsys, monkeypatch, "show", log, "--number", "3")
    assert (code, answer["trace"]) == (0, None)
    assert answer["reasons"] == ["satisfaction_score: Input should be less than or equal to 5"]


@pytest.mark.parametrize(
    ("asked", "absent"), [(("--id", "c99"), "a conversation 'c99'"), (("-n", "11"), "the conversation with number 11")]
)
def test_one_that_is_not_in_the_log_is_refused(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, asked: tuple[str, str], absent: str
) -> None:
    code, answer = told(capsys, monkeypatch, "show", log, *asked)
    assert code == 2
    assert f"has not {absent}" in answer["error"]["message"]


@pytest.mark.parametrize("command", [("traces", "validate"), ("traces", "show"), ("improve", "--traces"), ("evaluate", "1", "--traces")])
def test_an_empty_path_is_not_the_current_folder(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    monkeypatch.chdir(log.parent)
    monkeypatch.setattr(sys, "argv", ["agentgym", *command, "", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "got an empty path. Give its path" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_database_given_by_its_address_is_told_without_its_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    code, answer = told(capsys, monkeypatch, "validate", "postgresql://ann:SECRET@host/db")
    assert (code, "--format sql" in answer["error"]["message"]) == (2, True)
    assert "SECRET" not in json.dumps(answer)
