"""Who may ask: bearer keys, of which only a digest is kept."""

import hashlib
import secrets
from datetime import datetime

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict

from agentgym.database import create_tables, lock, open_database, reachable
from agentgym.errors import InvalidInput

PREFIX = "ag-"
_WHAT = "The keys of the endpoint"
_SHOWN_CHARACTERS = 7

_metadata = sql.MetaData()
_keys = sql.Table(
    "agentgym_api_keys",
    _metadata,
    sql.Column("digest", sql.String(64), primary_key=True),
    sql.Column("name", sql.String(128), nullable=False),
    sql.Column("begins_with", sql.String(16), nullable=False),
    sql.Column("created_at", sql.String(40), nullable=False),
    sql.Column("revoked_at", sql.String(40)),
)


class ApiKey(BaseModel):
    """What is known of a key: never the key itself, only how it begins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    begins_with: str
    created_at: datetime
    revoked_at: datetime | None


class ApiKeys:
    """The keys of an endpoint. A key has 256 random bits, so a plain SHA-256 of it gives nothing away (no word list reaches it)."""

    def __init__(self, url: str) -> None:
        self._engine = open_database(url, is_wal=True)
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, "agentgym_experience")
            create_tables(connection, _metadata)

    def create(self, name: str, *, now: datetime) -> str:
        """A new key, told once. Raises InvalidInput when a key in use has this name."""
        key = PREFIX + secrets.token_urlsafe(32)
        row = {"digest": digest_of(key), "name": name, "begins_with": key[:_SHOWN_CHARACTERS], "created_at": now.isoformat()}
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, "agentgym_experience")
            if connection.execute(sql.select(_keys.c.name).where(_keys.c.name == name, _keys.c.revoked_at.is_(None))).first():
                raise InvalidInput(f"Keys in use have different names; there is one named {name!r}. Revoke it, or choose another name.")
            connection.execute(_keys.insert().values(row))
        return key

    def revoke(self, name: str, *, now: datetime) -> None:
        """Ends a key; an endpoint refuses it a few seconds later. Raises InvalidInput when no key in use has this name."""
        in_use = (_keys.c.name == name) & _keys.c.revoked_at.is_(None)
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, "agentgym_experience")
            ended = connection.execute(_keys.update().where(in_use).values(revoked_at=now.isoformat())).rowcount
        if not ended:
            known = ", ".join(key.name for key in self.all() if key.revoked_at is None)
            raise InvalidInput(f"Only a key in use can be revoked; none is named {name!r}. In use: {known or 'none'}.")

    def all(self) -> tuple[ApiKey, ...]:
        """Every key there ever was, the oldest first."""
        columns = (_keys.c.name, _keys.c.begins_with, _keys.c.created_at, _keys.c.revoked_at)
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            rows = connection.execute(sql.select(*columns).order_by(_keys.c.created_at)).all()
        return tuple(ApiKey.model_validate(row._asdict()) for row in rows)

    def digests_in_use(self) -> frozenset[str]:
        """The digests of all keys that are not revoked."""
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            return frozenset(connection.execute(sql.select(_keys.c.digest).where(_keys.c.revoked_at.is_(None))).scalars())


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
