"""OpenAI's batch files and stored chat completions.

A batch is two files: requests, and answers that name their request by `custom_id`. A request with its answer is a conversation, and so is
one without when its messages end with the assistant's words.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePath
from typing import Any

from agentgym.traces.importers.chat import read_tools
from agentgym.traces.importers.gathering import Part, gathered
from agentgym.traces.importers.openai_responses import function_tools, response_messages, scope_of
from agentgym.traces.importers.reading import Log, Place, read_each
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.shapes import NotAConversation, a_list, an_object, identifier, plain_tags
from agentgym.traces.importers.turns import Turn, joined, read_turns


def looks_like_openai_batch(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    is_batch_line = "custom_id" in value and bool({"body", "response", "error"} & value.keys())
    return is_batch_line or value.get("object") == "chat.completion" or isinstance(value.get("choices"), list)


def read_openai_batch(log: Log) -> Iterator[Record | RejectedLine]:
    """The requests of batches with their answers, which may lie in other files of the folder; stored completions as they come."""
    yield from gathered(read_each(log, _parts), _conversations)


def _parts(value: Any, place: Place) -> Iterator[Part]:
    line = an_object(value, "A line of a batch")
    custom_id = identifier(line.get("custom_id"))
    if custom_id is None and not looks_like_openai_batch(line):
        raise NotAConversation("A line is a request or an answer with a custom_id, or a chat completion with choices; this is none.")
    yield Part(key=str(place) if custom_id is None else f"request {custom_id}", place=place, value=line)


def _conversations(parts: list[Part]) -> Iterator[Record | RejectedLine]:
    if "custom_id" not in parts[0].value:
        yield _stored_completion(parts[0])
        return
    requests = [part for part in parts if "body" in part.value]
    # A custom_id is unique in a batch, and a folder can hold several.
    if len(requests) <= 1:
        yield _answered(parts, name=str(parts[0].value["custom_id"]))
        return
    for folder, batch in groupby(sorted(parts, key=_folder), key=_folder):
        yield _answered(list(batch), name=f"{folder}/{parts[0].value['custom_id']}")


def _folder(part: Part) -> str:
    return PurePath(part.place.source).parent.as_posix()


def _answered(lines: list[Part], name: str) -> Record | RejectedLine:
    """One request and its answer."""
    requests = [line for line in lines if "body" in line.value]
    answers = [line for line in lines if "body" not in line.value]
    given = [line for line in answers if _fault(line.value) is None]
    place = lines[0].place
    if len(requests) != 1:
        found = f"{len(requests)} have" if requests else "no request has"
        return place.rejected(f"A custom_id names one request of a folder; {found} {name!r}.", name)
    if len(given) > 1:
        return place.rejected(f"A request has one answer; {name!r} has {len(given)}.", name)
    if answers and not given:
        return place.rejected(f"A request must have been answered; {name!r} was not: {_fault(answers[0].value)}.", name)
    try:
        return _record(requests[0], given[0].value["response"]["body"] if given else {}, name)
    except NotAConversation as error:
        return place.rejected(str(error), name)


def _fault(answer: dict[str, Any]) -> str | None:
    """What went wrong; None when there is an answer."""
    response = answer.get("response")
    if answer.get("error"):
        return f"the error {str(answer['error'])[:200]!r}"
    if not isinstance(response, dict) or not isinstance(response.get("body"), dict):
        return "there is no response with a body"
    return None if response.get("status_code", 200) == 200 else f"the status is {response['status_code']}"


def _stored_completion(part: Part) -> Record:
    """A chat completion that was stored with the messages it answers."""
    completion = part.value
    request = completion["request"] if isinstance(completion.get("request"), dict) else completion
    body = {**request, "messages": request.get("messages", completion.get("messages"))}
    return _record(Part(key=part.key, place=part.place, value={"body": body}), completion, identifier(completion.get("id")))


def _record(request: Part, answer: dict[str, Any], name: str | None) -> Record:
    body = an_object(request.value["body"], "The body of a request")
    metadata = body.get("metadata")
    turns = _turns(body, answer)
    if not answer and (not turns or turns[-1]["role"] != "assistant"):
        raise NotAConversation("A request without an answer must end with the assistant's words; this one waits for them.")
    return request.place.record(
        turns,
        conversation_id=name,
        tools=read_tools(scope_of([{**body, "output": answer.get("output")}]) if "input" in body else function_tools(body.get("tools"))),
        customer_id=identifier(body.get("safety_identifier") or body.get("user")),
        started_at=answer.get("created") or answer.get("created_at"),
        tags=plain_tags({"model": answer.get("model") or body.get("model"), **(metadata if isinstance(metadata, dict) else {})}),
    )


def _turns(body: dict[str, Any], answer: dict[str, Any]) -> list[Turn]:
    if "input" in body:
        return response_messages({**body, "output": answer.get("output")})
    messages = a_list(body.get("messages"), "The messages of a request")
    if not messages:
        raise NotAConversation("A request must hold the messages it was asked with; this one has none.")
    return joined(read_turns([*messages, *([_choice(answer)] if answer else [])]))


def _choice(completion: dict[str, Any]) -> dict[str, Any]:
    """What was answered: of several choices the first, as a caller takes it who does not choose."""
    choices = a_list(completion.get("choices"), "The choices of a completion")
    message = an_object(choices[0] if choices else None, "The first choice of a completion").get("message")
    said = an_object(message, "The message of a choice")
    return {**said, "content": said.get("content") or said.get("refusal")}
