"""A conversation that is forgotten is nowhere any more, and what learned from it is named, whenever the process is killed."""

import gzip
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from agentgym.errors import InvalidInput
from agentgym.evaluation.floors import AlwaysTalk
from agentgym.messages import assistant, user
from agentgym.policies.checkpoint import Checkpoint, Manifest
from agentgym.registry import Lineage, ModelRegistry
from agentgym.scenarios.from_traces import RECORDED, make_recorded_pack
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.regressions.of_recording import regression_of_version
from agentgym.serving.exposure_log import Exposure, ExposureLog, Feedback, record, record_feedback
from agentgym.serving.plan import Assignment
from agentgym.serving.served import served_traces
from agentgym.settings import Settings
from agentgym.store import ArtifactRef, S3Store, Store, open_store, write_atomically
from agentgym.traces.forgotten import ForgottenConversations
from agentgym.traces.snapshot import DatasetSnapshot
from agentgym.traces.source import TraceSource
from agentgym.traces.trace import Trace
from agentgym.traces.validation import load_validated
from agentgym.verdicts import CaseRow, EvaluationReport, Measure, Subject
from tasks.artifacts import read_pack, read_snapshot, write_checkpoint, write_pack, write_value
from tasks.forgetting import Forgotten, forget_conversation, stored_ids
from tasks.forgotten import forgotten_in
from tasks.health import look_at
from tasks.health.agent import agent_looks
from tasks.reading import usable_traces
from tasks.redaction import redactor_of
from tasks.regressions import open_regressions

AGENT = "support_agent"
COUNT = 12
SECRET_WORDS = "purple elephant"


def write_log(path: Path, name: Callable[[int], str] = lambda number: f"c{number}") -> Path:
    """One conversation of each of twelve customers; the last cannot be used. Only the fourth says a certain thing."""

    def conversation(number: int) -> dict[str, Any]:
        words = f"Where is order {number}?" + (f" I am a {SECRET_WORDS}." if number == 3 else "")
        messages = [
            {"role": "user", "content": words},
            {"role": "assistant", "tool_calls": [{"name": "find_order", "arguments": {"number": number, "note": words[-9:]}}]},
            {"role": "tool", "name": "find_order", "result": {"status": "sent"}},
            {"role": "assistant", "content": "It is on its way."},
        ]
        outcome = "resolved" if number < COUNT - 1 else "who knows"
        return {"conversation_id": name(number), "customer_id": f"customer {number}", "outcome": outcome, "messages": messages}

    path.write_text("".join(json.dumps(conversation(number)) + "\n" for number in range(COUNT)))
    return path


def keep_regressions(traces: Sequence[Trace], settings: Settings) -> None:
    """What an agent that only talks got wrong in two of these conversations."""
    for trace in traces:
        if trace.conversation_id in ("c3", "c4"):
            failure = regression_of_version(trace, AlwaysTalk(), name="talk")
            open_regressions(AGENT, settings).add(failure, reason="seen", at=datetime(2025, 3, 3, tzinfo=UTC))


class Workspace:
    """Everything one turn of the loop leaves behind, with weights that need not be any good."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.settings, self.source = settings, TraceSource(path=log)
        self.snapshot = self.ingest()
        dataset = read_snapshot(self.snapshot, settings)
        self.pack = write_pack(make_recorded_pack(dataset.train, dataset.held_out, self.snapshot.digest), settings)
        rows = tuple(
            CaseRow(case_id=each.conversation_id, kind="seen", cluster_id=each.cluster_id, measures={"reliability": Measure(numerator=1)})
            for each in (*dataset.held_out, *dataset.train)
        )
        self.report = write_value(report_on(rows), settings)
        self.start = write_checkpoint(checkpoint(snapshot_digest=self.snapshot.digest), settings)
        self.trained = write_checkpoint(checkpoint(parent=self.start.digest), settings)
        self.other = write_checkpoint(checkpoint(snapshot_digest="0" * 64), settings)
        for learned, lineage in ((self.start, {"snapshot_digest": self.snapshot.digest}), (self.trained, {}), (self.other, {})):
            version = self.registry.register(learned, lineage=Lineage(code_version="test", **lineage))
            if learned == self.trained:
                self.registry.bootstrap(version, "It runs today.")
        serve(settings.experience_url, "c3")
        serve(settings.experience_url, "c4")
        keep_regressions((*dataset.train, *dataset.held_out), settings)
        write_atomically(settings.workspace / "served" / f"{AGENT}.jsonl", log.read_bytes())
        write_atomically(settings.workspace / "data-docs" / self.snapshot.digest[:12] / "messages.html", SECRET_WORDS.encode())
        write_atomically(settings.workspace / "runs" / "1" / "cases.json", json.dumps([{"case_id": "c3", "said": SECRET_WORDS}]).encode())
        write_atomically(settings.workspace / "prefect" / "storage" / "step-1", self.snapshot.model_dump_json().encode())

    @property
    def store(self) -> Store:
        return open_store(self.settings.store)

    @property
    def registry(self) -> ModelRegistry:
        return ModelRegistry(self.settings.tracking_uri, AGENT)

    def ingest(self) -> ArtifactRef:
        validated = load_validated(
            self.source.path,
            "jsonl",
            redactor=redactor_of(self.source, self.settings),
            is_forgotten=forgotten_in(self.settings),
        )
        self.store.write(validated.quarantine(), suffix=".quarantine.jsonl")
        return DatasetSnapshot.write(self.store, validated.traces)

    def forget(self, conversation_id: str = "c3") -> Forgotten:
        return forget_conversation(conversation_id, "They asked.", self.settings)

    def marked(self) -> list[int]:
        return [version.version for version in self.registry.versions() if version.forgotten]

    def everything(self) -> str:
        """All texts that are kept, unpacked: of artifacts, of files, and of the databases."""
        artifacts = [self._unpacked(ref) for ref in self.store.refs()]
        files = [path.read_bytes() for path in self.settings.workspace.rglob("*") if path.is_file() and "store" not in path.parts]
        return b"\n".join([*artifacts, *files]).decode(errors="replace")

    def _unpacked(self, ref: ArtifactRef) -> bytes:
        if ref.uri.endswith(".parquet"):
            found = DatasetSnapshot.read(self.store, ref)
            return b"\n".join(trace.model_dump_json().encode() for trace in (*found.train, *found.held_out))
        content = self.store.read(ref)
        return gzip.decompress(content) if ref.uri.endswith(".gz") else content


def report_on(rows: tuple[CaseRow, ...]) -> EvaluationReport:
    subject = Subject(name="version 1", checkpoint_digest="0" * 64)
    return EvaluationReport(
        evidence="next_call", subject=subject, scenario="recorded", case_set_digest="0", seed=0, estimates={}, slices={}, rows=rows
    )


def checkpoint(**lineage: str) -> Checkpoint:
    return Checkpoint(manifest=Manifest(policy="planner", configuration={}, lineage=lineage), weights=b"")


def serve(url: str, conversation_id: str) -> None:
    log = ExposureLog(url, AGENT)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    exposure = Exposure(
        request_id=f"r-{conversation_id}",
        asked="0" * 64,
        conversation_id=conversation_id,
        agent=AGENT,
        unit="ann",
        customer_id="ann",
        assignment=Assignment(variant="1", epoch=1),
        answered_by="1",
        is_dealt=True,
        at=now,
        messages=(user(f"Hello, {SECRET_WORDS if conversation_id == 'c3' else 'you'}"), assistant("Hello.")),
        tools=(),
        tags={},
        agent_tokens=1,
        latency_seconds=0.1,
        body=f"answer to {conversation_id}, {SECRET_WORDS if conversation_id == 'c3' else 'you'}".encode(),
    )
    with log.engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        record(connection, exposure)
        record_feedback(connection, Feedback(conversation_id=conversation_id, comment="Thanks."), agent=AGENT, at=now)


@pytest.fixture
def settings(uri: str, tmp_path: Path) -> Settings:
    settings = Settings().inside(tmp_path)
    assert settings.tracking_uri == uri
    return settings


@pytest.fixture
def workspace(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(settings, write_log(tmp_path_factory.mktemp("logs") / "log.jsonl"))


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def in_bucket(s3_address: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings with a store in a bucket that keeps every version of its objects."""
    for name, text in (("ENDPOINT_URL", s3_address), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", text)
    boto3.client("s3").create_bucket(Bucket="versioned")
    boto3.client("s3").put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    return settings.model_copy(update={"store": "s3://versioned/team"})


def test_nothing_of_a_forgotten_conversation_is_left_anywhere(workspace: Workspace) -> None:
    assert SECRET_WORDS in workspace.everything()
    assert '"c3"' in workspace.everything()
    forgotten = workspace.forget()
    assert forgotten.tombstone.state == "done"
    assert SECRET_WORDS not in workspace.everything()
    assert '"c3"' not in workspace.everything()


def test_every_other_conversation_stays(workspace: Workspace) -> None:
    before = ids_in(workspace, workspace.snapshot)
    forgotten = workspace.forget()
    new = forgotten.replaced[workspace.snapshot.digest]
    (left,) = [ref for ref in workspace.store.refs() if ref.digest == new]
    assert ids_in(workspace, left) == before - {"c3"}
    assert [trace.conversation_id for trace in served_traces(ExposureLog(workspace.settings.experience_url, AGENT))] == ["c4"]
    assert [case.source for case in open_regressions(AGENT, workspace.settings).cases()] == ["c4"]


def test_the_new_snapshot_is_what_another_import_of_the_log_gives(workspace: Workspace) -> None:
    forgotten = workspace.forget()
    again = workspace.ingest()
    assert again.digest == forgotten.replaced[workspace.snapshot.digest]


def test_the_new_pack_is_what_is_made_of_the_new_snapshot(workspace: Workspace) -> None:
    forgotten = workspace.forget()
    (pack,) = [read_pack(ref, workspace.settings) for ref in workspace.store.refs() if ref.uri.endswith(".pack.json.gz")]
    dataset = read_snapshot(workspace.ingest(), workspace.settings)
    assert pack == make_recorded_pack(dataset.train, dataset.held_out, str(forgotten.replaced[workspace.snapshot.digest]))


def test_a_later_import_leaves_it_out_and_counts_it(workspace: Workspace) -> None:
    workspace.forget()
    report = load_validated(workspace.source.path, "jsonl", is_forgotten=forgotten_in(workspace.settings)).report
    assert (report.read, report.accepted, report.quarantined, report.forgotten) == (COUNT, COUNT - 2, 1, 1)


def test_no_command_takes_it_up_again_from_the_log(workspace: Workspace) -> None:
    read = {trace.conversation_id for trace in usable_traces(workspace.source, workspace.settings, scenario=RECORDED)}
    workspace.forget("c3")
    assert {trace.conversation_id for trace in usable_traces(workspace.source, workspace.settings, scenario=RECORDED)} == read - {"c3"}
    assert "c3" in read


def test_a_quarantined_conversation_is_forgotten_too(workspace: Workspace) -> None:
    assert workspace.forget("c11").removed["quarantines"] == 1
    assert '"c11"' not in workspace.everything().replace(str(workspace.source.path), "")
    assert load_validated(workspace.source.path, "jsonl", is_forgotten=forgotten_in(workspace.settings)).report.quarantined == 0


def test_what_depended_on_it_is_named_and_its_versions_are_marked(workspace: Workspace) -> None:
    dependents = workspace.forget().tombstone.dependents
    assert dependents.snapshots == (workspace.snapshot.digest,)
    assert workspace.pack.digest in dependents.packs
    assert set(dependents.checkpoints) == {workspace.start.digest, workspace.trained.digest}
    assert [(each.version, each.aliases) for each in dependents.versions] == [(1, ()), (2, ("champion",))]
    assert workspace.marked() == [1, 2]
    (finding,) = look_at({"forgotten": agent_looks(AGENT, workspace.settings)["forgotten"]})
    assert (finding.state, "version 2, learned from 1" in finding.statement) == ("warning", True)


def test_a_verdict_keeps_its_evidence_without_the_name(workspace: Workspace) -> None:
    workspace.forget()
    (report,) = [ref for ref in workspace.store.refs() if ref.uri.endswith(".json")]
    rows = EvaluationReport.model_validate_json(workspace.store.read(report)).rows
    assert len(rows) == COUNT - 1
    assert [row.case_id.startswith("forgotten/") for row in rows].count(True) == 1


def test_forgetting_again_changes_nothing(workspace: Workspace) -> None:
    first = workspace.forget()
    kept = set(workspace.store.refs())
    second = workspace.forget()
    assert (first.was_forgotten, second.was_forgotten) == (False, True)
    assert second.tombstone == first.tombstone
    assert set(workspace.store.refs()) == kept


def test_a_conversation_that_is_nowhere_is_bad_input_and_leaves_no_tombstone(workspace: Workspace) -> None:
    with pytest.raises(InvalidInput, match="'c99' is in no snapshot"):
        workspace.forget("c99")
    assert ForgottenConversations(workspace.settings.experience_url).tombstones == ()


def test_a_tombstone_keeps_no_id(workspace: Workspace) -> None:
    tombstone = workspace.forget().tombstone
    assert "c3" not in tombstone.model_dump_json(exclude={"name", "digests", "dependents"})
    assert all(len(digest) == 64 for digest in (tombstone.name, *tombstone.digests))


class Killed(BaseException):
    """As if the process had ended here."""


# A tombstone, marks on two versions, a snapshot, a pack and a report written, the same three deleted, the tombstone again.
@pytest.mark.parametrize("effect", range(1, 11))
def test_a_removal_that_was_cut_off_is_completed_by_another(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, effect: int) -> None:
    effects = [
        (type(workspace.store), "write"),
        (type(workspace.store), "write_file"),
        (type(workspace.store), "delete"),
        (ForgottenConversations, "keep"),
    ]
    counter = itertools.count(1)

    def cut(method: Callable[..., Any]) -> Callable[..., Any]:
        def until(*arguments: Any, **named: Any) -> Any:
            if next(counter) == effect:
                raise Killed
            return method(*arguments, **named)

        return until

    with monkeypatch.context() as patch:
        for owner, name in [*effects, (ModelRegistry, "mark_forgotten")]:
            patch.setattr(owner, name, cut(getattr(owner, name)))
        with pytest.raises(Killed):
            workspace.forget()
    assert workspace.forget().tombstone.state == "done"
    assert SECRET_WORDS not in workspace.everything()
    assert workspace.marked() == [1, 2]


def test_kill_9_in_the_middle_leaves_what_a_second_run_completes(workspace: Workspace) -> None:
    script = (
        "import os, signal\nfrom agentgym.store import FileStore\nfrom agentgym.settings import read_settings\n"
        "FileStore.delete = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from tasks.forgetting import forget_conversation\nforget_conversation('c3', 'They asked.', read_settings())"
    )
    environment = {**os.environ, "AGENTGYM_WORKSPACE": str(workspace.settings.workspace)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, timeout=400, check=False).returncode == -9
    (finding,) = look_at({"forgotten": agent_looks(AGENT, workspace.settings)["forgotten"]})
    assert finding.state == "problem"
    workspace.forget()
    assert SECRET_WORDS not in workspace.everything()


def test_a_bucket_keeps_no_version_of_what_was_deleted(in_bucket: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    workspace = Workspace(in_bucket, write_log(tmp_path_factory.mktemp("logs") / "log.jsonl"))
    assert isinstance(workspace.store, S3Store)
    workspace.forget()
    assert SECRET_WORDS not in workspace.everything()
    listed = boto3.client("s3").list_object_versions(Bucket="versioned")
    assert {each["Key"] for each in listed["Versions"]} == {ref.uri.removeprefix("s3://versioned/") for ref in workspace.store.refs()}
    assert not listed.get("DeleteMarkers")


@pytest.mark.parametrize("asked", ["raw", "stored"])
def test_a_redacted_id_is_found_by_either_name(settings: Settings, tmp_path: Path, asked: str) -> None:
    log = write_log(tmp_path / "log.jsonl", lambda number: f"ann{number}@example.com")
    workspace = Workspace(settings, log)
    raw = "ann3@example.com"
    stored = stored_ids(raw, settings)[1]
    assert stored in ids_in(workspace, workspace.snapshot)
    workspace.forget(raw if asked == "raw" else stored)
    assert stored not in workspace.everything()
    again = workspace.ingest()
    assert stored not in ids_in(workspace, again)
    assert len(ids_in(workspace, again)) == COUNT - 2


def test_a_snapshot_too_small_to_split_goes_as_a_whole(settings: Settings) -> None:
    store = open_store(settings.store)
    ref = DatasetSnapshot.write(store, [trace("a"), trace("b")])
    pack = ScenarioPack(scenario="recorded", tools=(), train=(), held_out=(), snapshot_digest=ref.digest)
    write_pack(pack, settings)
    assert forget_conversation("a", "They asked.", settings).replaced == {ref.digest: None, pack_digest(pack): None}
    assert list(store.refs()) == []


def trace(name: str) -> Trace:
    return Trace(conversation_id=name, messages=(user("Hello"), assistant("Hello.")))


def pack_digest(pack: ScenarioPack) -> str:
    return hashlib.sha256(pack.to_bytes()).hexdigest()


def ids_in(workspace: Workspace, ref: ArtifactRef) -> set[str]:
    dataset = read_snapshot(ref, workspace.settings)
    return {each.conversation_id for each in (*dataset.train, *dataset.held_out)}


def typed(workspace: Workspace, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `agentgym …` in this workspace."""
    environment = {**os.environ, "AGENTGYM_WORKSPACE": str(workspace.settings.workspace)}
    command = [sys.executable, "-c", "from agentgym.cli import main; main()", *arguments, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    return done.returncode, json.loads(done.stdout)


def test_the_command_forgets_once_and_tells_what_remains(workspace: Workspace) -> None:
    code, answer = typed(workspace, "traces", "forget", "c3", "--reason", "They asked.")
    assert (code, answer["state"], answer["weights_remain"], answer["was_forgotten"]) == (0, "done", True, False)
    assert [version["version"] for version in answer["dependents"]["versions"]] == [1, 2]
    code, listed = typed(workspace, "models", "list", "--agent", AGENT)
    assert [len(version["forgotten"]) for version in listed["versions"]] == [1, 1, 0]
    code, answer = typed(workspace, "traces", "forget", "c99")
    assert (code, answer["error"]["kind"]) == (2, "InvalidInput")
