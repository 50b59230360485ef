"""Great Expectations judges logs: what is quarantined and why, and what stops a run."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.traces.importers import source_files
from agentgym.traces.validation import ValidatedTraces, load_validated

FIND = {"name": "find", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}
Change = Callable[[dict[str, Any]], object]


def conversation(number: int) -> dict[str, Any]:
    return {
        "conversation_id": f"c{number}",
        "messages": [
            {"role": "user", "content": f"Find {number}"},
            {"role": "assistant", "tool_calls": [{"id": "x", "name": "find", "arguments": {"n": number}}]},
            {"role": "tool", "tool_call_id": "x", "result": {"found": number}},
            {"role": "assistant", "content": "There it is."},
        ],
        "tools": [FIND],
    }


def write_log(path: Path, change: Change | None = None, count: int = 10) -> Path:
    """Ten conversations, the third of them changed."""
    conversations = [conversation(number) for number in range(count)]
    if change:
        change(conversations[2])
    path.write_text("".join(json.dumps(each) + "\n" for each in conversations))
    return path


def validated(tmp_path: Path, change: Change | None = None) -> ValidatedTraces:
    return load_validated(write_log(tmp_path / "log.jsonl", change), "jsonl")


def test_a_sound_log_is_accepted_whole(tmp_path: Path) -> None:
    found = validated(tmp_path)
    assert (found.report.read, found.report.accepted, found.report.tool_calls, found.rejected) == (10, 10, 10, ())
    assert [trace.conversation_id for trace in found.traces] == [f"c{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda log: log.update(messages=[]), "A conversation has messages; messages is 0."),
        (lambda log: log["messages"].pop(0), "The customer says something; user_messages is 0."),
        (lambda log: log.update(messages=log["messages"][:1]), "The agent does something; assistant_messages is 0."),
        (lambda log: log.update(conversation_id="c1"), "A conversation_id is used once; used_at is 'log.jsonl:2'."),
        (lambda log: log.update(messages=conversation(1)["messages"]), "A conversation is in the log once; copy_of is 'c1'."),
        (
            lambda log: log.update(outcome="great"),
            "An outcome is resolved, escalated, unresolved, abandoned, or unknown; outcome is 'great'.",
        ),
        (lambda log: log.update(outcome=["resolved"]), "An outcome is resolved, escalated, unresolved, abandoned, or unknown"),
        (
            lambda log: log.update(satisfaction_score=6),
            "A satisfaction_score is a finite number from 1 to 5, or unknown; satisfaction_score is 6.0.",
        ),
        (lambda log: log.update(satisfaction_score=float("nan")), "A satisfaction_score is a finite number from 1 to 5"),
        (lambda log: log.update(satisfaction_score=float("-inf")), "A satisfaction_score is a finite number from 1 to 5"),
        (lambda log: log.update(satisfaction_score="good"), "A satisfaction_score is a finite number from 1 to 5"),
        (lambda log: log.update(agent_tokens=-1), "The agent_tokens are a finite number from 0"),
        (lambda log: log.update(latency_seconds=float("inf")), "The latency_seconds are a finite number from 0"),
        (lambda log: log["messages"][0].update(role="clerk"), "A role is system, user, assistant, tool; message 0: role is 'clerk'."),
        (lambda log: log["messages"][0].update(role={}), "A role is system, user, assistant, tool; message 0: role is '{}'."),
        (lambda log: log["messages"][3].update(content=""), "A message of the customer or the agent holds words or a call; message 3."),
        (lambda log: log["messages"].insert(3, log["messages"][2]), "A result follows the call it answers; message 3."),
        (lambda log: log["messages"][2].update(name="other", tool_call_id="y"), "A result follows the call it answers; message 2."),
        (lambda log: log["messages"].pop(2), "A call is answered before anybody speaks; message 1."),
        (lambda log: log.update(messages=log["messages"][:2]), "A call is answered before anybody speaks; message 1."),
        (lambda log: log["messages"][1]["tool_calls"][0].update(name=""), "A call names a tool; message 1."),
        (lambda log: log["messages"][1]["tool_calls"][0].update(name="lose"), "A call that worked is of a declared tool; message 1."),
        (
            lambda log: log["messages"][1]["tool_calls"][0].update(arguments="{n"),
            "Arguments are a JSON object; message 1: arguments_type is 'str'.",
        ),
        (
            lambda log: log["messages"][1]["tool_calls"][0].update(arguments={"n": "one"}),
            "A call that worked fits the tool's schema; message 1",
        ),
        (lambda log: log["messages"][1]["tool_calls"][0].update(arguments={}), "A call that worked fits the tool's schema; message 1"),
        (lambda log: log.update(started_at="yesterday"), "started_at: Input should be a valid datetime"),
    ],
)
def test_a_conversation_that_breaks_a_rule_is_quarantined_alone(tmp_path: Path, change: Change, reason: str) -> None:
    found = validated(tmp_path, change)
    (rejected,) = found.rejected
    assert (rejected.source, rejected.line) == ("log.jsonl", 3)
    assert any(said.startswith(reason) for said in rejected.reasons), rejected.reasons
    assert len(found.traces) == 9


@pytest.mark.parametrize("score", [float("nan"), "good", "4", True])
def test_what_is_no_number_is_not_said_to_be_one(tmp_path: Path, score: Any) -> None:
    (rejected,) = validated(tmp_path, lambda log: log.update(satisfaction_score=score)).rejected
    assert rejected.reasons == ("A satisfaction_score is a finite number from 1 to 5, or unknown.",)


@pytest.mark.parametrize("call", [{"name": "lose"}, {"arguments": {"n": "one"}}], ids=["unknown tool", "bad arguments"])
def test_a_call_the_tool_refused_is_what_happened(tmp_path: Path, call: dict[str, Any]) -> None:
    def refuse(log: dict[str, Any]) -> None:
        log["messages"][1]["tool_calls"][0].update(call)
        log["messages"][2]["result"] = {"error": "not like this"}

    assert validated(tmp_path, refuse).rejected == ()


def test_the_quarantine_names_line_17_and_its_reason(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", count=30)
    lines = path.read_text().splitlines()
    lines[16] = lines[16][:-9]
    path.write_text("\n".join(lines))
    (entry,) = map(json.loads, load_validated(path, "jsonl").quarantine().splitlines())
    assert (entry["source"], entry["line"], entry["conversation_id"]) == ("log.jsonl", 17, None)
    assert entry["reasons"][0].startswith("A line must be JSON")


def test_reasons_are_counted_by_rule(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", lambda log: log.update(satisfaction_score=9, outcome="great"), count=20)
    with path.open("a") as file:
        file.write("oops\n" + json.dumps(conversation(50) | {"satisfaction_score": 0}) + "\n")
    report = load_validated(path, "jsonl").report
    assert report.quarantined == 3
    assert report.reasons["A satisfaction_score is a finite number from 1 to 5, or unknown"] == 2
    assert report.reasons["A line must be JSON"] == 1


def test_conversations_that_nearly_repeat_each_other_are_counted_and_kept(tmp_path: Path) -> None:
    """All ten say the same but for the number."""
    found = validated(tmp_path, lambda log: log["messages"][0].update(content="Where on earth did I leave the other one of them?"))
    assert (found.report.near_duplicates, found.report.accepted, len(found.traces)) == (8, 10, 10)


def test_a_limit_draws_the_same_conversations_from_the_whole_log_each_time(tmp_path: Path) -> None:
    """The first so many of a log that is sorted by service would all be of one service."""
    path = write_log(tmp_path / "log.jsonl", count=40)
    drawn = [[trace.conversation_id for trace in load_validated(path, "jsonl", limit=8).traces] for _ in range(2)]
    places = [int(conversation_id[1:]) for conversation_id in drawn[0]]
    assert drawn[0] == drawn[1]
    assert len(places) == 8
    assert places == sorted(places)
    assert min(places) < 20 <= max(places)


def test_a_larger_limit_keeps_what_a_smaller_one_draws_and_one_beyond_the_log_keeps_all(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", count=20)
    few, more, all_of_them = ({trace.conversation_id for trace in load_validated(path, "jsonl", limit=n).traces} for n in (5, 10, 99))
    assert few < more < all_of_them
    assert len(all_of_them) == 20


def test_a_declaration_that_refers_to_nothing_is_quarantined_naming_the_tool(tmp_path: Path) -> None:
    def refer(log: dict[str, Any]) -> None:
        log["tools"] = [{"name": "find", "parameters": {"properties": {"n": {"$ref": "#/$defs/count"}}}}]

    (line,) = validated(tmp_path, refer).rejected
    assert "those of 'find' refer to '#/$defs/count'" in line.reasons[0]


def test_more_than_the_allowed_share_in_quarantine_stops_the_run(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", lambda log: log.update(satisfaction_score=9), count=4)
    with pytest.raises(InvalidInput, match=r"At most 20% of a log may be unusable; 1 of 4 conversations .* The first is log\.jsonl:3"):
        load_validated(path, "jsonl")
    assert load_validated(path, "jsonl", max_quarantined_share=0.25).report.quarantined == 1


def test_a_log_with_nothing_left_stops_the_run_whatever_the_share(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("oops\n" * 5)
    with pytest.raises(InvalidInput, match=r"^Something of a log must be usable; 5 of 5 conversations .* A line must be JSON.* Mend"):
        load_validated(path, "jsonl", max_quarantined_share=1.0)


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n")
    with pytest.raises(InvalidInput, match="A log needs at least one conversation"):
        load_validated(path, "jsonl")


def test_brackets_around_nothing_are_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("[" * 10_000 + "]" * 10_000)
    with pytest.raises(InvalidInput, match="there is nothing inside the brackets"):
        load_validated(path, "jsonl")
    path.write_text("[ ]")
    with pytest.raises(InvalidInput, match="is empty"):
        load_validated(path, "jsonl")


def test_a_line_in_latin_1_is_told_to_be_converted(tmp_path: Path) -> None:
    path, convert = write_log(tmp_path / "log.jsonl"), r"Convert it: `iconv -f ENCODING -t UTF-8`\."
    line = json.dumps(conversation(20) | {"tags": {"city": "Zürich"}}, ensure_ascii=False).encode("latin-1")
    path.write_bytes(path.read_bytes() + line)
    (rejected,) = load_validated(path, "jsonl").rejected
    assert re.fullmatch(f"A log must be UTF-8; this line is not. {convert}", rejected.reasons[0])
    path.write_bytes(b"[" + line + b"]")
    with pytest.raises(InvalidInput, match=convert):
        load_validated(path, "jsonl")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_log_in_utf_16_is_refused_whole(tmp_path: Path, encoding: str) -> None:
    path = write_log(tmp_path / "log.jsonl")
    path.write_bytes(path.read_text().encode(encoding))
    with pytest.raises(InvalidInput, match=r"A log must be UTF-8; .* may be UTF-16\. Convert it: `iconv -f UTF-16 -t UTF-8`"):
        load_validated(path, "jsonl")


def test_a_log_without_a_tool_call_is_not_enough(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}))
    with pytest.raises(InsufficientData, match=r"1 of 1 conversations in .* were read and understood, and make none"):
        load_validated(path, "jsonl")


def test_a_tool_with_two_schemas_stops_the_run(tmp_path: Path) -> None:
    other = FIND | {"parameters": {"type": "object", "properties": {"n": {"type": "number"}}}}
    with pytest.raises(InvalidInput, match="'find' is declared with another one in conversation 'c2'"):
        validated(tmp_path, lambda log: log.update(tools=[other]))


def test_data_docs_say_every_rule_and_tell_nobody_that_they_are_read(tmp_path: Path) -> None:
    pages = validated(tmp_path, lambda log: log.update(satisfaction_score=9)).data_docs
    assert set(pages) == {"conversations.html", "messages.html", "tool_calls.html"}
    assert "A satisfaction_score is a finite number from 1 to 5, or unknown." in pages["conversations.html"]
    assert "logo-long.png" not in pages["conversations.html"]


def test_data_docs_add_up_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentgym.traces.validation.BATCH_CONVERSATIONS", 3)
    found = validated(tmp_path, lambda log: log.update(satisfaction_score=9))
    assert (found.report.accepted, found.report.quarantined) == (9, 1)
    assert "10 total rows" in found.data_docs["conversations.html"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
GARBLED = st.fixed_dictionaries(
    {"messages": st.lists(st.dictionaries(st.sampled_from(["role", "content", "tool_calls", "result", "name", "tool_call_id"]), JSON))},
    optional=dict.fromkeys(("conversation_id", "outcome", "satisfaction_score", "agent_tokens", "tags", "customer_id"), JSON),
)
LINE = st.one_of(
    JSON.map(json.dumps), GARBLED.map(json.dumps), st.text().filter(lambda text: not set(text) & set("\n\r")), st.just("[" * 3_000)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(lines=st.lists(LINE, max_size=12))
def test_whatever_a_log_holds_every_line_is_accepted_or_quarantined(tmp_path: Path, lines: list[str]) -> None:
    path = write_log(tmp_path / "log.jsonl")
    with path.open("a", encoding="utf-8", errors="surrogatepass") as file:
        file.writelines(line + "\n" for line in lines)
    report = load_validated(path, "jsonl", max_quarantined_share=1.0).report
    assert report.accepted >= 10
    assert report.read == report.accepted + report.quarantined == 10 + sum(bool(line.encode().strip()) for line in lines)


def test_source_files_are_named_with_their_digests(tmp_path: Path) -> None:
    (source,) = source_files(write_log(tmp_path / "log.jsonl"), "jsonl")
    assert (source.name, len(source.digest)) == ("log.jsonl", 64)
