"""Forgets a conversation: takes it out of everything that is kept, and marks what learned from it.

It is safe to be killed: the tombstone is written first and says what depends on the conversation, versions are marked before anything is
deleted, and what took an artifact's place is written before the artifact goes. Another run completes it.

Not covered: backups, the log files the conversation was imported from, and what Prefect's server keeps of runs that failed.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict

from agentgym.errors import ContractBroken, InvalidInput
from agentgym.registry import ALIASES, ModelRegistry
from agentgym.scenarios.regressions.regression_set import RegressionSet, agents_with_regressions
from agentgym.scenarios.stored_conversations import Holding, dependent_checkpoints, find_holdings, remove
from agentgym.serving.exposure_log import are_served, erase_served
from agentgym.settings import Settings
from agentgym.store import open_store, write_atomically
from agentgym.traces.forgotten import Dependents, DependentVersion, ForgottenConversations, Tombstone, id_digest
from agentgym.traces.importers import Record
from agentgym.traces.names import installed_name_finder
from agentgym.traces.redaction import NameFinder, Redactor
from agentgym.traces.secret import workspace_secret
from tasks.health.databases import is_begun
from tasks.redaction import SECRET_FILE
from tasks.registry import open_registry
from tasks.regressions import open_regressions

# Somebody who ingests at this moment may write what was just taken away; one more look is enough, and these are many.
_MOST_ROUNDS = 5
_PAGES = (".json", ".jsonl")


class Forgotten(BaseModel):
    """What forgetting a conversation came to.

    was_forgotten: whether it had been before, and nothing of it was left.   removed: what was taken away by kind; artifacts were
    `replaced`, by digest, with one without the conversation, None where too little was left.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tombstone: Tombstone
    was_forgotten: bool
    removed: dict[str, int]
    replaced: dict[str, str | None]


def forget_conversation(conversation_id: str, reason: str, settings: Settings) -> Forgotten:
    """Takes a conversation, by the id it has in the log or in the store, out of everything that is kept here.

    Raises InvalidInput where it is nowhere and was never forgotten.
    """
    ids = stored_ids(conversation_id, settings)
    tombstones = ForgottenConversations(settings.experience_url)
    before = tombstones.of(ids)
    holdings, places = _find(ids, settings)
    if before is None and not holdings and not places:
        raise InvalidInput(
            f"A conversation to forget must be kept somewhere; {conversation_id!r} is in no snapshot, pack or report of {settings.store}, "
            "in no regression case, was put aside nowhere, and was never served. Check the id: it is the `conversation_id` of the log."
        )
    tombstone = _begun(before, conversation_id, ids, reason)
    removed, replaced = dict[str, int](), dict[str, str | None]()
    for _ in range(_MOST_ROUNDS):
        tombstone = tombstone.model_copy(update={"dependents": tombstone.dependents.joined(_dependents(holdings, tombstone, settings))})
        tombstones.keep(tombstone)
        _mark_versions(tombstone, settings)
        _take_away(holdings, ids, removed, replaced, settings)
        holdings, places = _find(ids, settings)
        if not holdings and not places:
            break
    else:
        raise ContractBroken(f"Nothing of a forgotten conversation may be left; {len(holdings)} artifacts and {places} still hold it.")
    done = tombstone.model_copy(update={"state": "done", "done_at": tombstone.done_at or datetime.now(UTC)})
    tombstones.keep(done)
    was_forgotten = before is not None and before.state == "done" and not any(removed.values())
    return Forgotten(tombstone=done, was_forgotten=was_forgotten, removed=removed, replaced=replaced)


def stored_ids(conversation_id: str, settings: Settings) -> tuple[str, ...]:
    """The ids a conversation may be kept under: its own, and what redaction makes of it where it holds personal data."""
    secret = settings.workspace / SECRET_FILE
    if not secret.exists():
        return (conversation_id,)
    record = Record(source="", line=1, fields={"conversation_id": conversation_id})
    redacted = [Redactor(workspace_secret(secret), find_names=finder).redact(record).conversation_id for finder in (None, _name_finder())]
    return tuple(dict.fromkeys((conversation_id, *(each for each in redacted if each))))


def _name_finder() -> NameFinder | None:
    """Names may have been redacted where somebody finds them."""
    try:
        return installed_name_finder()
    except InvalidInput:
        return None


def _begun(before: Tombstone | None, conversation_id: str, ids: Sequence[str], reason: str) -> Tombstone:
    digests = tuple(map(id_digest, ids))
    if before is not None:
        return before.model_copy(update={"digests": tuple(sorted({*before.digests, *digests})), "state": "begun"})
    return Tombstone(name=id_digest(conversation_id), digests=digests, reason=reason, asked_at=datetime.now(UTC))


def _find(ids: Collection[str], settings: Settings) -> tuple[list[Holding], list[str]]:
    """The artifacts that hold it, and what else does."""
    pages = [str(page) for page in (*_served_logs(settings), *_tracked_pages(settings)) if _is_told_in(page, ids)]
    served = ["what was served"] if is_begun(settings.experience_url) and are_served(settings.experience_url, ids) else []
    cases = [f"regression cases of {each.agent!r}" for each in _regressions(settings) if each.holding(ids)]
    return find_holdings(open_store(settings.store), ids), [*served, *cases, *pages]


def _dependents(holdings: Sequence[Holding], tombstone: Tombstone, settings: Settings) -> Dependents:
    digests = {kind: tuple(sorted({digest for each in holdings if each.kind == kind for digest in each.digests})) for kind in _KINDS}
    known = tombstone.dependents
    sources = {*digests["snapshot"], *digests["pack"], *known.snapshots, *known.packs, *known.checkpoints}
    versions = list(_versions_of(sources, settings))
    checkpoints = dependent_checkpoints(open_store(settings.store), sources | {digest for _, digest in versions})
    everything = dict(_versions_of(sources | checkpoints, settings))
    return Dependents(
        snapshots=digests["snapshot"],
        quarantines=digests["quarantine"],
        packs=digests["pack"],
        reports=digests["report"],
        checkpoints=tuple(sorted(checkpoints | set(everything.values()))),
        versions=tuple(everything),
    )


_KINDS = ("snapshot", "quarantine", "pack", "report")


def _versions_of(sources: Collection[str], settings: Settings) -> Iterator[tuple[DependentVersion, str]]:
    """The registered versions made from one of these, or that are one of these, each with the digest of its checkpoint."""
    for registry in _registries(settings):
        standing = registry.status()
        pointers = {alias: getattr(standing, alias) for alias in ALIASES}
        for version in registry.versions():
            named = {version.checkpoint.digest, version.tags.get("snapshot_digest"), version.tags.get("pack_digest")}
            if not named.isdisjoint(sources):
                aliases = tuple(alias for alias, held in pointers.items() if held is not None and held.version == version.version)
                yield DependentVersion(agent=registry.name, version=version.version, aliases=aliases), version.checkpoint.digest


def _registries(settings: Settings) -> list[ModelRegistry]:
    """Of every agent that has versions; none where nothing was ever registered."""
    if not is_begun(settings.tracking_uri):
        return []
    return [open_registry(name, settings) for name in open_registry("agent", settings).known_names()]


def _regressions(settings: Settings) -> list[RegressionSet]:
    """Of every agent that has regression cases."""
    agents = agents_with_regressions(settings.experience_url) if is_begun(settings.experience_url) else ()
    return [open_regressions(agent, settings) for agent in agents]


def _mark_versions(tombstone: Tombstone, settings: Settings) -> None:
    for dependent in tombstone.dependents.versions:
        open_registry(dependent.agent, settings).mark_forgotten(dependent.version, tombstone.name, at=tombstone.asked_at)


def _take_away(
    holdings: Sequence[Holding], ids: Collection[str], removed: dict[str, int], replaced: dict[str, str | None], settings: Settings
) -> None:
    """Takes it out of everything, the store last, for the rest is found by what is in it.

    Adds to `removed` and `replaced` what that was.
    """
    digests = [each.ref.digest for each in holdings]
    told = [page for page in _tracked_pages(settings) if _is_told_in(page, ids)]
    counts = {f"{kind}s": sum(each.kind == kind for each in holdings) for kind in _KINDS}
    counts["served"] = erase_served(settings.experience_url, ids) if is_begun(settings.experience_url) else 0
    counts["regression_cases"] = sum(len(each.forget(ids, at=datetime.now(UTC))) for each in _regressions(settings))
    counts["served_logs"] = sum(_rewrite_served(log, ids) for log in _served_logs(settings))
    counts["pages"] = _delete([*_pages_of(holdings, settings), *told])
    counts["cached_results"] = _delete([result for result in _cached_results(settings) if _names_one_of(result, digests)])
    counts["resume_points"] = _delete(_resume_points(settings, digests))
    replaced |= {digest: new.digest if new else None for digest, new in remove(open_store(settings.store), holdings, ids).items()}
    for name, count in counts.items():
        removed[name] = removed.get(name, 0) + count


def _pages_of(holdings: Sequence[Holding], settings: Settings) -> list[Path]:
    """Pages on the quality of logs quote what broke a rule; which log a quarantine is of they do not tell, so there all go.

    The next import writes them again.
    """
    root = settings.workspace / "data-docs"
    if any(each.kind == "quarantine" for each in holdings):
        return [page for page in root.rglob("*") if page.is_file()]
    folders = [root / each.ref.digest[:12] for each in holdings if each.kind == "snapshot"]
    return [page for folder in folders for page in folder.rglob("*") if page.is_file()]


def _served_logs(settings: Settings) -> list[Path]:
    return sorted((settings.workspace / "served").glob("*.jsonl"))


def _tracked_pages(settings: Settings) -> list[Path]:
    """Texts among the artifacts of MLflow's runs."""
    return sorted(page for page in (settings.workspace / "runs").rglob("*") if page.suffix in _PAGES and page.is_file())


def _rewrite_served(log: Path, ids: Collection[str]) -> bool:
    lines = log.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if orjson.loads(line).get("conversation_id") not in ids]
    if len(kept) < len(lines):
        write_atomically(log, b"".join(kept))
    return len(kept) < len(lines)


def _cached_results(settings: Settings) -> list[Path]:
    """Where Prefect keeps what steps gave back, which are references to artifacts."""
    return sorted(path for path in (settings.workspace / "prefect" / "storage").rglob("*") if path.is_file())


def _resume_points(settings: Settings, gone: Collection[str]) -> list[Path]:
    """Of trainings on what is gone, which cannot go on: they name the cases they were at."""
    specs = sorted((settings.workspace / "jobs").glob("*/spec.json"))
    return [point for spec in specs if _names_one_of(spec, gone) for point in spec.parent.glob("resume-*.zip")]


def _names_one_of(path: Path, digests: Collection[str]) -> bool:
    content = path.read_bytes() if digests else b""
    return any(digest.encode() in content for digest in digests)


def _is_told_in(page: Path, ids: Collection[str]) -> bool:
    """Whether a JSON text has one of these for the id of a conversation or a case."""
    content = page.read_bytes()
    fields = (rb'"(?:conversation|case)_id"\s*:\s*' + re.escape(orjson.dumps(each)) for each in ids)
    return any(re.search(field, content) for field in fields)


def _delete(paths: Iterable[Path]) -> int:
    """How many there were."""
    found = [path for path in paths if path.exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
