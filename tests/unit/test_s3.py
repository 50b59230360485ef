"""S3 over HTTP on this machine: what is written once, what breaks off and goes on, and what is refused."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pyarrow
import pytest
from moto.server import ThreadedMotoServer

from agentgym import s3
from agentgym.errors import AgentGymError, InvalidInput, Unavailable
from agentgym.s3 import S3Object, find_object, list_objects, open_object, write_once
from agentgym.store import S3Store, open_store
from agentgym.traces.importers import import_traces, log_path, source_files
from agentgym.traces.ingestion import ingest
from agentgym.traces.snapshot import DatasetSnapshot
from agentgym.traces.source import TraceSource, fingerprint
from agentgym.traces.trace import Trace

BYTES = bytes(range(256)) * 4096


def connect(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A real S3 API on a free port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(address: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    connect(monkeypatch, address)
    name = f"bucket-{abs(hash(request.node.name))}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """A server that gives these answers one after another, the last of them again and again; gives the list of what it was asked."""
    servers = []

    def begin(*answers: Answer) -> list[str]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append(f"{self.command} {self.headers.get('Range', '')}".strip())
                answers[min(len(asked), len(answers)) - 1](self)

            do_GET = do_PUT = do_HEAD = do_POST = handle_one  # noqa: N815

            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        connect(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        return asked

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def status(code: int, name: str = "InternalError") -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = b"" if code == 200 else f"<Error><Code>{name}</Code><Message>no</Message></Error>".encode()
        handler.send_response(code)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(b"" if handler.command == "HEAD" else body)

    return answer


def some_of(content: bytes, most: int) -> Answer:
    """What was asked for, of which only so many bytes arrive."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        begin = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.send_header("ETag", '"one"')
        handler.end_headers()
        handler.wfile.write(content[begin : begin + most])
        handler.close_connection = True

    return answer


def an_object(size: int = len(BYTES)) -> S3Object:
    return S3Object(bucket="logs", key="a", size=size, etag='"one"')


def test_what_is_under_a_key_already_stays(bucket: str) -> None:
    for content in (b"first", b"second"):
        write_once(bucket, "key", content)
    found = find_object(bucket, "key")
    assert found is not None
    assert open_object(found).read() == b"first"


def test_of_many_who_write_at_once_one_writes_all_of_it(bucket: str) -> None:
    contents = [bytes([number]) * 200_000 for number in range(8)]
    threads = [threading.Thread(target=write_once, args=(bucket, "key", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = find_object(bucket, "key")
    assert found is not None
    assert open_object(found).read() in contents


@pytest.mark.parametrize("is_file", [True, False])
def test_a_large_one_goes_in_parts_and_leaves_none_behind(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_file: bool
) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    content = BYTES * 6
    (tmp_path / "file").write_bytes(content)
    for written in (tmp_path / "file" if is_file else content, b"x" * (6 << 20)):
        write_once(bucket, "key", written)
    found = find_object(bucket, "key")
    assert found is not None
    assert open_object(found).read() == content
    assert "Uploads" not in boto3.client("s3").list_multipart_uploads(Bucket=bucket)


def test_a_snapshot_is_written_from_a_file(bucket: str, tmp_path: Path) -> None:
    store = S3Store(bucket, "team")
    (tmp_path / "file").write_bytes(BYTES)
    ref = store.write_file(tmp_path / "file", suffix=".parquet")
    assert ref == store.write(BYTES, suffix=".parquet")
    assert store.read(ref) == BYTES


def test_a_store_without_conditions_is_written_without_them(answering: Callable[..., list[str]]) -> None:
    asked = answering(status(501, "NotImplemented"), status(200))
    write_once("artifacts", "key", b"content")
    assert asked == ["PUT", "PUT"]


def test_a_server_that_stumbles_is_asked_again(answering: Callable[..., list[str]]) -> None:
    asked = answering(status(500), status(503, "SlowDown"), status(200))
    write_once("artifacts", "key", b"content")
    assert asked == ["PUT", "PUT", "PUT"]


@pytest.mark.parametrize(
    ("code", "name", "error", "exit_code", "message"),
    [
        (500, "InternalError", Unavailable, 3, r"S3 must accept put_object on bucket 'artifacts'; it said .*InternalError"),
        (403, "AccessDenied", InvalidInput, 2, r"S3 must allow put_object on bucket 'artifacts'; it said .*AccessDenied.*credentials"),
        (409, "ConditionalRequestConflict", Unavailable, 3, "'key' was being written by another"),
    ],
)
def test_what_s3_answers_is_told_by_who_can_act(
    answering: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    name: str,
    error: type[AgentGymError],
    exit_code: int,
    message: str,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    answering(status(code, name))
    with pytest.raises(error, match=message) as raised:
        write_once("artifacts", "key", b"content")
    assert raised.value.exit_code == exit_code


def test_without_credentials_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(InvalidInput, match="S3 needs credentials for bucket 'artifacts'"):
        find_object("artifacts", "key")


def test_a_connection_that_breaks_is_taken_up_at_the_same_byte(answering: Callable[..., list[str]]) -> None:
    asked = answering(some_of(BYTES, 300_000))
    assert open_object(an_object()).read() == BYTES
    assert asked == ["GET", "GET bytes=300000-", "GET bytes=600000-", "GET bytes=900000-"]


def test_one_that_gives_nothing_any_more_is_told_with_how_far_it_came(
    answering: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    answering(some_of(BYTES, 300_000), some_of(BYTES, 0))
    with pytest.raises(Unavailable, match=r"s3://logs/a broke off after 300,000 of 1,048,576 bytes"):
        open_object(an_object()).read()


def test_an_object_that_is_another_one_by_now_is_not_mixed_with_the_first(answering: Callable[..., list[str]]) -> None:
    answering(some_of(BYTES, 300_000), status(412, "PreconditionFailed"))
    with pytest.raises(InvalidInput, match="must not change while it is read; s3://logs/a is another one now"):
        open_object(an_object()).read()


def test_a_listing_of_several_pages_is_read_whole(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        write_once(bucket, f"logs/{number}", b"x")
    client = boto3.client("s3")
    listing = client.list_objects_v2
    monkeypatch.setattr(client, "list_objects_v2", lambda **asked: listing(**asked, MaxKeys=2))
    monkeypatch.setattr(s3, "_client", lambda: client)
    assert [found.key for found in list_objects(bucket, "logs/")] == [f"logs/{number}" for number in range(5)]


def conversation(number: int) -> bytes:
    call = {"role": "assistant", "tool_calls": [{"id": "x", "name": "find", "arguments": {"n": number}}]}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}, call, {"role": "tool", "tool_call_id": "x", "result": number}]
    return json.dumps({"conversation_id": f"c{number}", "messages": messages}).encode() + b"\n"


def test_a_log_in_a_bucket_is_read_like_one_in_a_folder(bucket: str) -> None:
    client = boto3.client("s3")
    for key, body in {
        "logs/2025/a.jsonl": conversation(1),
        "logs/b.jsonl.gz": gzip.compress(conversation(2)),
        "logs/c.jsonl.zst": pyarrow.compress(conversation(3), codec="zstd", asbytes=True),
        "logs/tools.json": b'[{"name": "find"}]',
        "logs/.hidden.jsonl": b"{",
        "other/d.jsonl": conversation(4),
    }.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    folder = [item for item in import_traces(log_path(f"s3://{bucket}/logs"), "jsonl") if isinstance(item, Trace)]
    assert [trace.conversation_id for trace in folder] == ["c1", "c2", "c3"]
    assert [len(trace.tools) for trace in folder] == [0, 1, 1]
    # As the command line gives it: a path that has swallowed a slash.
    (one,) = import_traces(Path(f"s3://{bucket}/other/d.jsonl"), "jsonl")
    assert isinstance(one, Trace)
    assert one.conversation_id == "c4"


def test_the_fingerprint_of_an_object_follows_its_bytes(bucket: str) -> None:
    digests = []
    for number in (1, 1, 2):
        boto3.client("s3").put_object(Bucket=bucket, Key="logs/a.jsonl", Body=conversation(number))
        digests += [file.digest for file in source_files(log_path(f"s3://{bucket}/logs"), "jsonl")]
    assert digests[0] == digests[1] != digests[2]


def test_a_source_in_a_bucket_keeps_its_address() -> None:
    source = TraceSource.model_validate({"path": "s3://bucket/logs/a.jsonl"})
    assert str(source.path) == "s3://bucket/logs/a.jsonl"
    assert TraceSource.model_validate_json(source.model_dump_json()) == source


def test_an_absent_log_in_a_bucket_is_refused(bucket: str) -> None:
    with pytest.raises(InvalidInput, match=f"nothing is at 's3://{bucket}/logs'"):
        list(import_traces(log_path(f"s3://{bucket}/logs"), "jsonl"))


def test_a_log_that_nobody_may_read_is_refused(answering: Callable[..., list[str]]) -> None:
    answering(status(403, "AccessDenied"))
    with pytest.raises(InvalidInput, match="S3 must allow head_object on bucket 'secret'"):
        list(import_traces(log_path("s3://secret/log.jsonl"), "jsonl"))


def test_a_log_in_a_bucket_becomes_a_snapshot_in_a_bucket(bucket: str) -> None:
    for number in range(4):
        boto3.client("s3").put_object(Bucket=bucket, Key=f"logs/{number}.jsonl", Body=conversation(number))
    source, store = TraceSource.model_validate({"path": f"s3://{bucket}/logs"}), open_store(f"s3://{bucket}/store")
    done = ingest(source, fingerprint(source), store, make_redactor=lambda: None)
    snapshot = DatasetSnapshot.read(store, done.snapshot)
    assert {trace.conversation_id for trace in (*snapshot.train, *snapshot.held_out)} == {f"c{number}" for number in range(4)}
    assert [file.name for file in snapshot.sources] == [f"{number}.jsonl" for number in range(4)]
    assert done.snapshot.uri.startswith(f"s3://{bucket}/store/")
