import hashlib
import os
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from agentgym.errors import ContractBroken, InvalidInput, Unavailable
from agentgym.store import ArtifactRef, FileStore, S3Store, Store, open_store, write_atomically

CONTENT = b'{"tool_reliability": 0.95}'


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    """A real S3 API over HTTP on a free port of this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_address, monkeypatch) -> S3Store:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3").create_bucket(Bucket="artifacts")
    store = open_store("s3://artifacts/team/agent")
    assert isinstance(store, S3Store)
    return store


@pytest.fixture(params=["file", "s3"])
def store(request, tmp_path) -> Store:
    return open_store(tmp_path / "a store") if request.param == "file" else request.getfixturevalue("s3")


def test_what_is_written_is_read_back(store):
    assert store.read(store.write(CONTENT)) == CONTENT


def test_a_reference_holds_the_digest_of_the_bytes(store):
    ref = store.write(CONTENT, suffix=".json")
    assert ref.digest == hashlib.sha256(CONTENT).hexdigest()
    assert ref.uri.endswith(f"{ref.digest}.json")


def test_equal_bytes_have_one_reference(store):
    assert store.write(CONTENT) == store.write(CONTENT)


def test_a_written_artifact_exists_and_another_does_not(store):
    ref = store.write(CONTENT)
    assert store.exists(ref)
    assert not store.exists(ArtifactRef(uri=ref.uri + "x", digest=ref.digest))


def test_a_missing_artifact_is_told_with_its_address(store):
    gone = ArtifactRef(uri=store.write(CONTENT).uri + "x", digest="0" * 64)
    with pytest.raises(InvalidInput, match=f"nothing is at {gone.uri}"):
        store.read(gone)


def test_changed_bytes_in_a_folder_are_noticed(tmp_path):
    ref = FileStore(tmp_path).write(CONTENT)
    next(path for path in tmp_path.rglob(f"{ref.digest}*")).write_bytes(CONTENT + b" ")
    with pytest.raises(ContractBroken, match=f"was {ref.digest[:12]} and is "):
        FileStore(tmp_path).read(ref)


def test_changed_bytes_in_a_bucket_are_noticed(s3):
    ref = s3.write(CONTENT)
    boto3.client("s3").put_object(Bucket="artifacts", Key=ref.uri.removeprefix("s3://artifacts/"), Body=b"other")
    with pytest.raises(ContractBroken, match="never changes after it is written"):
        s3.read(ref)


def test_a_store_opens_at_a_file_address_with_a_space(tmp_path):
    ref = FileStore(tmp_path / "a store").write(CONTENT)
    reopened = open_store((tmp_path / "a store").as_uri())
    assert reopened.write(CONTENT) == ref


def test_an_address_of_another_kind_is_refused():
    with pytest.raises(InvalidInput, match=r"got 'gs://bucket'.*AGENTGYM_STORE"):
        open_store("gs://bucket")


def test_a_store_inside_a_file_is_not_writable(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(Unavailable, match="store must be writable"):
        FileStore(tmp_path / "taken").write(CONTENT)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everywhere")
def test_a_folder_without_permission_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(Unavailable, match="store must be writable"):
        FileStore(tmp_path).write(CONTENT)


def test_an_artifact_that_is_a_folder_is_not_readable(tmp_path):
    with pytest.raises(Unavailable, match="store must be readable"):
        FileStore(tmp_path).read(ArtifactRef(uri=tmp_path.as_uri(), digest="0" * 64))


def test_nothing_is_left_of_a_write_that_failed(tmp_path):
    (tmp_path / "artifact").mkdir()
    with pytest.raises(Unavailable):
        write_atomically(tmp_path / "artifact", CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


def test_a_missing_bucket_is_told_by_name(s3):
    with pytest.raises(Unavailable, match="on bucket 'elsewhere'"):
        S3Store("elsewhere", "").write(CONTENT)


def test_an_s3_that_does_not_answer_is_unavailable(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(Unavailable, match="S3 must be reachable"):
        S3Store("artifacts", "").write(CONTENT)
