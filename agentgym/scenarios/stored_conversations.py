"""Where in a store a conversation is, what was learned from it, and the same artifacts without it."""

import io
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import orjson
from pydantic import ValidationError

from agentgym.environments.case import Case
from agentgym.errors import InsufficientData
from agentgym.policies.checkpoint import MANIFEST, Manifest
from agentgym.scenarios.from_traces import RECORDED
from agentgym.scenarios.pack import ScenarioPack
from agentgym.store import ArtifactRef, Store
from agentgym.traces.forgotten import id_digest
from agentgym.traces.snapshot import DatasetSnapshot, conversation_ids_in
from agentgym.verdicts import CaseRow, EvaluationReport, Failure

Kind = Literal["snapshot", "quarantine", "pack", "report"]
_QUARANTINE, _PACK = ".quarantine.jsonl", ".pack.json.gz"


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """An artifact that holds a conversation, or, as a pack does, cases of a snapshot that holds it.

    digests: under which lineage may name it.
    """

    kind: Kind
    ref: ArtifactRef
    digests: tuple[str, ...]


def find_holdings(store: Store, ids: Collection[str]) -> list[Holding]:
    """Every artifact that holds a conversation with one of these ids; snapshots first, for packs are told by them too."""
    refs = list(store.refs())
    snapshots = [ref for ref in refs if ref.uri.endswith(".parquet") and not conversation_ids_in(store, ref).isdisjoint(ids)]
    held = {ref.digest for ref in snapshots}
    found = [Holding(kind="snapshot", ref=ref, digests=(ref.digest,)) for ref in snapshots]
    for ref in refs:
        if ref.uri.endswith(_PACK):
            pack = ScenarioPack.from_bytes(store.read(ref))
            if pack.snapshot_digest in held or any(_is_of(case, ids) for case in _cases(pack)):
                found.append(Holding(kind="pack", ref=ref, digests=(ref.digest, pack.digest)))
        elif ref.uri.endswith(_QUARANTINE) and any(_names(line, ids) for line in store.read(ref).splitlines()):
            found.append(Holding(kind="quarantine", ref=ref, digests=(ref.digest,)))
        elif ref.uri.endswith(".json") and _is_in_report(store.read(ref), ids):
            found.append(Holding(kind="report", ref=ref, digests=(ref.digest,)))
    return found


def dependent_checkpoints(store: Store, sources: Collection[str]) -> frozenset[str]:
    """Digests of the checkpoints made from one of these, or from a checkpoint that was; what `sources` names itself is among them."""
    lineages = {ref.digest: set(manifest.lineage.values()) for ref, manifest in _manifests(store)}
    found: set[str] = set()
    while more := {digest for digest, lineage in lineages.items() if digest not in found and lineage & (found | set(sources))}:
        found |= more
    return frozenset(found | (lineages.keys() & set(sources)))


def remove(store: Store, holdings: Collection[Holding], ids: Collection[str]) -> dict[str, ArtifactRef | None]:
    """Writes each artifact anew without the conversation and deletes the old one; by digest, what took its place.

    None where too little is left for a snapshot, and its packs go with it. Each old artifact outlives what is told by it, and the new one
    is there before the old one goes, so that a removal that was killed is completed by another one.
    """
    replaced: dict[str, ArtifactRef | None] = {}
    for holding in (each for each in holdings if each.kind == "snapshot"):
        replaced[holding.ref.digest] = _snapshot_without(store, holding.ref, ids)
    for holding in (each for each in holdings if each.kind != "snapshot"):
        content = _WITHOUT[holding.kind](store.read(holding.ref), ids, store, replaced)
        suffix = holding.ref.uri.partition(holding.ref.digest)[2]
        replaced[holding.ref.digest] = None if content is None else store.write(content, suffix=suffix)
    for holding in sorted(holdings, key=lambda each: each.kind == "snapshot"):
        new = replaced[holding.ref.digest]
        if new is None or new.digest != holding.ref.digest:
            store.delete(holding.ref)
    return replaced


Replaced = Mapping[str, ArtifactRef | None]


def _snapshot_without(store: Store, ref: ArtifactRef, ids: Collection[str]) -> ArtifactRef | None:
    try:
        return DatasetSnapshot.write_without(store, ref, ids)
    except InsufficientData:
        return None


def _pack_without(content: bytes, ids: Collection[str], store: Store, replaced: Replaced) -> bytes | None:
    pack = ScenarioPack.from_bytes(content)
    parts = {name: tuple(case for case in getattr(pack, name) if not _is_of(case, ids)) for name in _PARTS}
    if pack.snapshot_digest not in replaced:
        return pack.model_copy(update=parts).to_bytes()
    if (new := replaced[pack.snapshot_digest]) is None:
        return None
    # Schemas that were inferred list values; one that only this conversation had must not stay in them.
    tools = DatasetSnapshot.read(store, new).tools if pack.scenario == RECORDED else pack.tools
    return pack.model_copy(update={**parts, "tools": tools, "snapshot_digest": new.digest}).to_bytes()


def _quarantine_without(content: bytes, ids: Collection[str], _: Store, __: Replaced) -> bytes:
    return b"".join(line + b"\n" for line in content.splitlines() if not _names(line, ids))


def _report_without(content: bytes, ids: Collection[str], _: Store, __: Replaced) -> bytes:
    """What it said of the case stays, for the verdict rests on it; whose it was goes."""
    report = EvaluationReport.model_validate_json(content)
    rows = tuple(_nameless(row, ids) for row in report.rows)
    failures = tuple(
        Failure(case_id=_pseudonym(failure.case_id), trial=failure.trial, error="forgotten") if failure.case_id in ids else failure
        for failure in report.failures
    )
    return report.model_copy(update={"rows": rows, "failures": failures}).model_dump_json(indent=1).encode()


_WITHOUT: Mapping[Kind, Callable[[bytes, Collection[str], Store, Replaced], bytes | None]] = {
    "pack": _pack_without,
    "quarantine": _quarantine_without,
    "report": _report_without,
}
_PARTS = ("train", "held_out", "edge", "regression")


def _nameless(row: CaseRow, ids: Collection[str]) -> CaseRow:
    if row.case_id not in ids:
        return row
    cluster = _pseudonym(row.cluster_id) if row.cluster_id in ids else row.cluster_id
    return row.model_copy(update={"case_id": _pseudonym(row.case_id), "cluster_id": cluster})


def _pseudonym(conversation_id: str) -> str:
    return f"forgotten/{id_digest(conversation_id)[:16]}"


def _cases(pack: ScenarioPack) -> Iterator[Case]:
    for name in _PARTS:
        yield from getattr(pack, name)


def _is_of(case: Case, ids: Collection[str]) -> bool:
    """Whether it was made from a conversation of these, or belongs with it where no customer is known."""
    recorded = case.recording.conversation_id if case.recording else case.case_id
    return not {case.case_id, case.cluster_id, recorded}.isdisjoint(ids)


def _names(line: bytes, ids: Collection[str]) -> bool:
    return bool(line.strip()) and orjson.loads(line).get("conversation_id") in ids


def _is_in_report(content: bytes, ids: Collection[str]) -> bool:
    if b'"rows"' not in content:
        return False
    try:
        report = EvaluationReport.model_validate_json(content)
    except ValidationError:
        return False
    told = {row.case_id for row in report.rows} | {failure.case_id for failure in report.failures}
    return not told.isdisjoint(ids)


def _manifests(store: Store) -> Iterator[tuple[ArtifactRef, Manifest]]:
    """Every checkpoint with what it says of itself; what is another zip is passed over."""
    for ref in store.refs():
        if ref.uri.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(store.read(ref))) as archive:
                if MANIFEST in archive.namelist():
                    yield ref, Manifest.model_validate(orjson.loads(archive.read(MANIFEST)))
