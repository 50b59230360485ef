"""The plans traffic was served by: an append-only list in SQL, whose last row is what replicas shall hold.

Who wants other traffic appends a plan; the endpoint sees it, gives it to its replicas and notes what they said. So a change is durable
before it is carried out, two who change at once get two epochs, and nothing that is killed leaves half a change.
"""

from datetime import datetime
from typing import Literal

import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict

from agentgym.database import create_tables, lock, open_database, reachable
from agentgym.serving.exposure_log import LOCK
from agentgym.serving.plan import TrafficPlan

PlanState = Literal["pending", "held", "refused"]
_WHAT = "The log of traffic plans"

_metadata = sql.MetaData()
_plans = sql.Table(
    "agentgym_traffic_plans",
    _metadata,
    sql.Column("agent", sql.String(256), primary_key=True),
    sql.Column("epoch", sql.Integer, primary_key=True),
    sql.Column("at", sql.String(40), nullable=False),
    sql.Column("plan", sql.Text, nullable=False),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("settled_at", sql.String(40)),
    sql.Column("problem", sql.Text),
)
_endpoints = sql.Table(
    "agentgym_endpoints",
    _metadata,
    sql.Column("agent", sql.String(256), primary_key=True),
    sql.Column("url", sql.String(512), nullable=False),
    sql.Column("seen_at", sql.String(40), nullable=False),
)


class LoggedPlan(BaseModel):
    """A plan and how far it came.

    state: `held` by every replica, or `refused` because a version did not load, as `problem` says.   settled_at: None while pending.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: TrafficPlan
    at: datetime
    state: PlanState
    settled_at: datetime | None
    problem: str | None


class EndpointSign(BaseModel):
    """Where an endpoint answers, and when it last said so."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    seen_at: datetime


class TrafficLog:
    """The plans of one agent."""

    def __init__(self, url: str, agent: str) -> None:
        self._agent = agent
        self._engine = open_database(url, is_wal=True)
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, LOCK)
            create_tables(connection, _metadata)

    def append(self, plan: TrafficPlan, *, at: datetime) -> bool:
        """Appends the plan after the last one; False when somebody else has appended one of this epoch before."""
        row = {"agent": self._agent, "epoch": plan.epoch, "at": at.isoformat(), "plan": plan.model_dump_json(), "state": "pending"}
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, LOCK)
            last = connection.execute(sql.select(sql.func.max(_plans.c.epoch)).where(_plans.c.agent == self._agent)).scalar() or 0
            if plan.epoch != last + 1:
                return False
            connection.execute(_plans.insert().values(row))
            return True

    def latest(self) -> LoggedPlan | None:
        """The last plan; None before the first."""
        found = self._read(self._latest())
        return found[0] if found else None

    def plans(self) -> tuple[LoggedPlan, ...]:
        """Every plan, the oldest first."""
        return self._read(_plans.select().where(_plans.c.agent == self._agent).order_by(_plans.c.epoch))

    def settle(self, epoch: int, state: PlanState, *, at: datetime, problem: str | None = None) -> None:
        """Notes that every replica holds the plan, or that it was refused."""
        values = {"state": state, "settled_at": at.isoformat(), "problem": problem}
        self._write(_plans.update().where(_plans.c.agent == self._agent, _plans.c.epoch == epoch).values(values))

    def sign_in(self, url: str, *, at: datetime) -> None:
        """Notes that an endpoint answers at `url`."""
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, LOCK)
            connection.execute(_endpoints.delete().where(_endpoints.c.agent == self._agent))
            connection.execute(_endpoints.insert().values(agent=self._agent, url=url, seen_at=at.isoformat()))

    def sign_out(self) -> None:
        """Notes that no endpoint answers any more."""
        self._write(_endpoints.delete().where(_endpoints.c.agent == self._agent))

    def endpoint(self) -> EndpointSign | None:
        """Where the endpoint last said it answers; None when none did, or it has signed out."""
        query = sql.select(_endpoints.c.url, _endpoints.c.seen_at).where(_endpoints.c.agent == self._agent)
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return EndpointSign.model_validate(row._asdict()) if row else None

    def _latest(self) -> sql.Select[tuple[object, ...]]:
        return _plans.select().where(_plans.c.agent == self._agent).order_by(_plans.c.epoch.desc()).limit(1)

    def _read(self, query: sql.Select[tuple[object, ...]]) -> tuple[LoggedPlan, ...]:
        with reachable(self._engine, _WHAT), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return tuple(
            LoggedPlan(
                plan=TrafficPlan.model_validate_json(row.plan), at=row.at, state=row.state, settled_at=row.settled_at, problem=row.problem
            )
            for row in rows
        )

    def _write(self, statement: sql.Update | sql.Delete) -> None:
        with reachable(self._engine, _WHAT), self._engine.begin() as connection:
            lock(connection, LOCK)
            connection.execute(statement)
