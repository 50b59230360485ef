"""Conversations that somebody asked to forget: kept by a digest of their id alone, so that no later import brings them back.

A row is written before anything is removed, and says what is to be done until it is done. So a removal that was killed is known to be
unfinished, and still knows what depended on what it has already taken away.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict

from agentgym.database import create_tables, lock, open_database, reachable

_LOCK = "agentgym_forgotten"
_WHAT = "The list of forgotten conversations"

_metadata = sql.MetaData()
_tombstones = sql.Table(
    "agentgym_forgotten",
    _metadata,
    sql.Column("name", sql.String(64), primary_key=True),
    sql.Column("tombstone", sql.Text, nullable=False),
)


class DependentVersion(BaseModel):
    """A registered version that learned from a conversation, or from what did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str
    version: int
    aliases: tuple[str, ...] = ()


class Dependents(BaseModel):
    """What was made from a conversation.

    snapshots, packs, reports, quarantines: digests of artifacts that held it and were replaced.   checkpoints: digests of weights that
    learned from one of these, which stay.   packs' content digests are among `packs` too, for lineage names either.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshots: tuple[str, ...] = ()
    quarantines: tuple[str, ...] = ()
    packs: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    versions: tuple[DependentVersion, ...] = ()

    def joined(self, other: "Dependents") -> "Dependents":
        """Both, each once; of a version told by both, what `other` says of its aliases."""
        versions = {(each.agent, each.version): each for each in (*self.versions, *other.versions)}
        names = ("snapshots", "quarantines", "packs", "reports", "checkpoints")
        digests = {name: tuple(sorted({*getattr(self, name), *getattr(other, name)})) for name in names}
        return Dependents(versions=tuple(versions[key] for key in sorted(versions)), **digests)


class Tombstone(BaseModel):
    """That a conversation is to be forgotten, and what depended on it.

    name: the digest of the id it was asked by.   digests: of every id it may have, which is also the redacted one.
    state: `begun` until nothing of it is left.   done_at: None until then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    digests: tuple[str, ...]
    reason: str
    asked_at: datetime
    state: Literal["begun", "done"] = "begun"
    done_at: datetime | None = None
    dependents: Dependents = Dependents()


class ForgottenConversations:
    """The tombstones in a database; opening makes the table where it is missing."""

    def __init__(self, url: str) -> None:
        self._engine = open_database(url, is_wal=True)
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, _LOCK)
            create_tables(connection, _metadata)
            rows = connection.execute(_tombstones.select().order_by(_tombstones.c.name)).all()
        self.tombstones = tuple(Tombstone.model_validate_json(row.tombstone) for row in rows)
        self._digests = frozenset(digest for tombstone in self.tombstones for digest in tombstone.digests)

    @property
    def name(self) -> str | None:
        """Tells one list from another; None where nothing is forgotten."""
        listed = "\n".join(sorted(self._digests))
        return hashlib.sha256(listed.encode()).hexdigest()[:16] if listed else None

    def is_forgotten(self, conversation_id: str) -> bool:
        """Whether it was on the list when the list was opened."""
        return bool(self._digests) and id_digest(conversation_id) in self._digests

    def of(self, conversation_ids: Iterable[str]) -> Tombstone | None:
        """The one of a conversation with one of these ids; None where it has none."""
        digests = set(map(id_digest, conversation_ids))
        return next((tombstone for tombstone in self.tombstones if digests & set(tombstone.digests)), None)

    def keep(self, tombstone: Tombstone) -> None:
        """Writes it in the place of the one of its name, durable before this returns."""
        others = [each for each in self.tombstones if each.name != tombstone.name]
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, _LOCK)
            connection.execute(_tombstones.delete().where(_tombstones.c.name == tombstone.name))
            connection.execute(_tombstones.insert().values(name=tombstone.name, tombstone=tombstone.model_dump_json()))
        self.tombstones = (*others, tombstone)
        self._digests |= set(tombstone.digests)


def id_digest(conversation_id: str) -> str:
    """SHA-256 of an id. It tells nobody an id they cannot guess; that a guessed id was forgotten can be told by it, as it must."""
    return hashlib.sha256(b"agentgym forgotten conversation\0" + conversation_id.encode(errors="surrogatepass")).hexdigest()
