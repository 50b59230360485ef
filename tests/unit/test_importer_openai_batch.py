import json
from pathlib import Path
from typing import Any

from agentgym.traces.importers import RejectedLine, import_traces
from agentgym.traces.trace import Trace

TOOL = {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "find_order", "arguments": '{"number": 7}'}}
ASKED = [
    {"role": "user", "content": "Where is my order?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": '{"status": "sent"}'},
]
SAID = {"role": "assistant", "content": "It is on its way."}


def request(custom_id: str = "r1", messages: list[Any] = ASKED) -> dict[str, Any]:
    body = {"model": "gpt", "messages": messages, "tools": [TOOL], "user": "ann"}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def answer(custom_id: str = "r1", message: dict[str, Any] = SAID, *, status: int = 200) -> dict[str, Any]:
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1_715_000_000, "choices": [{"index": 0, "message": message}]}
    return {"id": "batch_req_1", "custom_id": custom_id, "response": {"status_code": status, "body": body}, "error": None}


def read(folder: Path, **files: list[Any]) -> list[Trace | RejectedLine]:
    """What a folder of these files gives; `a__b` is the file b in the folder a."""
    for name, lines in files.items():
        path = folder / f"{name.replace('__', '/')}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return list(import_traces(folder, "openai_batch"))


def reasons(items: list[Trace | RejectedLine]) -> list[str]:
    return [reason for item in items if isinstance(item, RejectedLine) for reason in item.reasons]


def test_a_request_is_joined_with_its_answer_from_another_file(tmp_path: Path) -> None:
    (trace,) = read(tmp_path, answers=[answer()], requests=[request()])
    assert isinstance(trace, Trace)
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool", "assistant"]
    assert trace.messages[1].tool_calls[0].arguments == {"number": 7}
    assert trace.messages[2].result == {"status": "sent"}
    assert trace.messages[3].content == "It is on its way."
    assert (trace.conversation_id, trace.customer_id, trace.tools[0].name) == ("r1", "ann", "find_order")


def test_answers_in_another_order_than_the_requests_are_joined_by_custom_id(tmp_path: Path) -> None:
    said = {name: {"role": "assistant", "content": f"Answer {name}."} for name in ("r1", "r2")}
    traces = read(tmp_path, requests=[request("r1"), request("r2")], results=[answer("r2", said["r2"]), answer("r1", said["r1"])])
    assert [(trace.conversation_id, trace.messages[-1].content) for trace in traces if isinstance(trace, Trace)] == [
        ("r1", "Answer r1."),
        ("r2", "Answer r2."),
    ]


def test_a_request_alone_is_a_conversation_when_the_assistant_spoke_last(tmp_path: Path) -> None:
    told, waiting = read(tmp_path, requests=[request("r1", [*ASKED, SAID]), request("r2")])
    assert isinstance(told, Trace)
    assert isinstance(waiting, RejectedLine)
    assert waiting.reasons == ("A request without an answer must end with the assistant's words; this one waits for them.",)
    assert (waiting.source, waiting.line, waiting.conversation_id) == ("requests.jsonl", 2, "r2")


def test_an_answer_without_its_request_is_no_conversation(tmp_path: Path) -> None:
    assert reasons(read(tmp_path, answers=[answer()])) == ["A custom_id names one request of a folder; no request has 'r1'."]


def test_a_request_that_failed_says_how(tmp_path: Path) -> None:
    failed = {"custom_id": "r2", "response": None, "error": {"code": "batch_expired"}}
    found = reasons(read(tmp_path, requests=[request("r1"), request("r2")], answers=[answer("r1", status=429), failed]))
    assert found[0] == "A request must have been answered; 'r1' was not: the status is 429."
    assert "batch_expired" in found[1]


def test_an_answer_from_a_second_try_counts(tmp_path: Path) -> None:
    (trace,) = read(tmp_path, requests=[request()], errors=[answer(status=500)], retried=[answer()])
    assert isinstance(trace, Trace)


def test_a_custom_id_that_several_batches_use_is_told_apart_by_folder(tmp_path: Path) -> None:
    said = [{"role": "assistant", "content": words} for words in ("First.", "Second.")]
    traces = read(
        tmp_path,
        monday__requests=[request()],
        tuesday__requests=[request()],
        monday__answers=[answer("r1", said[0])],
        tuesday__answers=[answer("r1", said[1])],
    )
    assert [(trace.conversation_id, trace.messages[-1].content) for trace in traces if isinstance(trace, Trace)] == [
        ("monday/r1", "First."),
        ("tuesday/r1", "Second."),
    ]


def test_a_custom_id_used_twice_in_a_folder_is_not_guessed_at(tmp_path: Path) -> None:
    """Joined by position, an answer could be put into another customer's mouth."""
    found = read(tmp_path, requests=[request(), request()], answers=[answer()])
    assert reasons(found) == ["A custom_id names one request of a folder; 2 have './r1'."]


def test_two_answers_to_one_request_are_not_guessed_at(tmp_path: Path) -> None:
    assert reasons(read(tmp_path, requests=[request()], answers=[answer(), answer()])) == ["A request has one answer; 'r1' has 2."]


def test_an_answer_that_refuses_says_so_in_words(tmp_path: Path) -> None:
    (trace,) = read(tmp_path, log=[request(), answer(message={"role": "assistant", "content": None, "refusal": "I cannot."})])
    assert isinstance(trace, Trace)
    assert trace.messages[-1].content == "I cannot."


def test_a_batch_of_responses_is_read_too(tmp_path: Path) -> None:
    asked = {"custom_id": "r1", "url": "/v1/responses", "body": {"input": "Hello?"}}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}
    (trace,) = read(tmp_path, log=[asked, {"custom_id": "r1", "response": {"status_code": 200, "body": {"output": [said]}}}])
    assert isinstance(trace, Trace)
    assert [message.content for message in trace.messages] == ["Hello?", "Hi."]


def test_stored_completions_hold_their_messages_beside_or_in_the_request(tmp_path: Path) -> None:
    completion = answer()["response"]["body"]
    beside = completion | {"messages": ASKED, "metadata": {"queue": "orders"}}
    inside = completion | {"id": "chatcmpl-2", "request": {"messages": ASKED, "tools": [TOOL]}}
    first, second = read(tmp_path, log=[beside, inside])
    assert isinstance(first, Trace)
    assert isinstance(second, Trace)
    assert first.messages == second.messages
    assert (first.tags["queue"], second.conversation_id, second.tools[0].name) == ("orders", "chatcmpl-2", "find_order")


def test_a_completion_stored_without_its_messages_says_so(tmp_path: Path) -> None:
    (reason,) = reasons(read(tmp_path, log=[answer()["response"]["body"]]))
    assert reason == "A request must hold the messages it was asked with; this one has none."


def test_lines_of_another_kind_are_told_one_by_one(tmp_path: Path) -> None:
    found = read(tmp_path, log=[request("r1", [SAID]), 3, {"n": 1}, {"custom_id": "r2", "body": []}])
    assert sum(isinstance(item, Trace) for item in found) == 1
    assert reasons(found) == [
        "A line of a batch must be an object; got int.",
        "A line is a request or an answer with a custom_id, or a chat completion with choices; this is none.",
        "The body of a request must be an object; got list.",
    ]
