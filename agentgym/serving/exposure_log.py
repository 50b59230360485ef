"""What was served to whom, and what came of it: kept durably before an answer leaves, joined with outcomes whenever they arrive.

An answer leaves after its transaction was forced to disk (SQLite in WAL with `synchronous=FULL`; Postgres by its default). So a process
that is killed loses nothing that was answered, and neither does a power cut on a disk that keeps its word about having written.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

import orjson
import sqlalchemy as sql
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.engine import Connection

from agentgym.database import create_tables, erasing, lock, open_database, reachable
from agentgym.episode import Outcome
from agentgym.errors import InvalidInput
from agentgym.messages import Message
from agentgym.serving.plan import Assignment
from agentgym.tools import Tool

LOCK = "agentgym_experience"
_WHAT = "The log of what was served"
FeedbackResult = Literal["recorded", "known", "conflict", "unknown_conversation"]

_metadata = sql.MetaData()
_conversations = sql.Table(
    "agentgym_conversations",
    _metadata,
    sql.Column("agent", sql.String(256), primary_key=True),
    sql.Column("conversation_id", sql.String(128), primary_key=True),
    sql.Column("unit", sql.String(256), nullable=False),
    sql.Column("customer_id", sql.String(256)),
    # The variant it began with, dealt by the plan of this epoch; a test counts it there.
    sql.Column("variant", sql.String(64), nullable=False),
    sql.Column("epoch", sql.Integer, nullable=False),
    # The variant that holds it now.
    sql.Column("held_variant", sql.String(64), nullable=False),
    sql.Column("held_epoch", sql.Integer, nullable=False),
    sql.Column("is_dealt", sql.Boolean, nullable=False),
    sql.Column("started_at", sql.String(40), nullable=False),
    sql.Column("ended_at", sql.String(40), nullable=False),
    sql.Column("requests", sql.Integer, nullable=False),
    sql.Column("failures", sql.Integer, nullable=False),
    sql.Column("agent_tokens", sql.Integer, nullable=False),
    sql.Column("latency_seconds", sql.Float, nullable=False),
    sql.Column("transcript", sql.Text, nullable=False),
    sql.Column("transcript_digest", sql.String(64), nullable=False, index=True),
    sql.Column("tools_digest", sql.String(64), nullable=False),
    sql.Column("tags", sql.Text, nullable=False),
    sql.Index("agentgym_conversations_epoch", "agent", "epoch"),
)
_answers = sql.Table(
    "agentgym_answers",
    _metadata,
    sql.Column("agent", sql.String(256), primary_key=True),
    sql.Column("request_id", sql.String(128), primary_key=True),
    sql.Column("conversation_id", sql.String(128), nullable=False),
    sql.Column("variant", sql.String(64), nullable=False),
    sql.Column("epoch", sql.Integer, nullable=False),
    sql.Column("at", sql.String(40), nullable=False),
    # SHA-256 of the request: the same id with another request is a mistake of the client's.
    sql.Column("asked", sql.String(64), nullable=False),
    sql.Column("body", sql.LargeBinary, nullable=False),
)
_tools = sql.Table(
    "agentgym_tools",
    _metadata,
    sql.Column("digest", sql.String(64), primary_key=True),
    sql.Column("declarations", sql.Text, nullable=False),
)
_feedback = sql.Table(
    "agentgym_feedback",
    _metadata,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("agent", sql.String(256), nullable=False),
    sql.Column("conversation_id", sql.String(128), nullable=False),
    sql.Column("at", sql.String(40), nullable=False),
    sql.Column("outcome", sql.String(32)),
    sql.Column("score", sql.Float),
    sql.Column("comment", sql.Text),
    sql.Index("agentgym_feedback_conversation", "agent", "conversation_id"),
)


class Exposure(BaseModel):
    """One request and what became of it.

    asked: SHA-256 of the request.   assignment: the variant that holds the conversation.   answered_by: the variant that was asked,
    another one only where the request named it; such a conversation is no test's any more.
    messages: the whole conversation, with the answer at the end where there is one.   body: the answer as it leaves; None for a failure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    request_id: str
    asked: str
    conversation_id: str
    agent: str
    unit: str
    customer_id: str | None
    assignment: Assignment
    answered_by: str
    is_dealt: bool
    at: datetime
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    tags: dict[str, str]
    agent_tokens: int = Field(ge=0)
    latency_seconds: float = Field(ge=0)
    body: bytes | None


class Feedback(BaseModel):
    """What somebody says of a conversation afterwards.

    score: 1 (worst) to 5.   corrects: whether it may replace what was said before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    conversation_id: str = Field(pattern=r"^[\x21-\x7e]{1,128}$")
    outcome: Outcome | None = None
    score: float | None = Field(default=None, ge=1, le=5)
    comment: str | None = Field(default=None, max_length=10_000, pattern=r"^[^\x00]*$")
    corrects: bool = False

    @model_validator(mode="after")
    def _say_something(self) -> "Feedback":
        if self.outcome is None and self.score is None and self.comment is None:
            raise ValueError("Feedback must hold an outcome, a score or a comment; it holds none.")
        return self


class KeptAnswer(BaseModel):
    """An answer that left.   asked: SHA-256 of the request it answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str
    body: bytes


class ExposureLog:
    """What one agent served; several processes may write to it at once."""

    def __init__(self, url: str, agent: str) -> None:
        self.agent = agent
        self.engine = open_database(url, is_wal=True)
        with reachable(self.engine, _WHAT), self.engine.begin() as connection:
            lock(connection, LOCK)
            create_tables(connection, _metadata)

    # --- reading, while a request waits ---

    def assignment_of(self, conversation_id: str) -> Assignment | None:
        """The variant that holds the conversation; None for one that has not begun."""
        columns = sql.select(_conversations.c.held_variant, _conversations.c.held_epoch)
        row = self._first(columns.where(_is_conversation(self.agent, conversation_id)))
        return Assignment(variant=row.held_variant, epoch=row.held_epoch) if row else None

    def answer_to(self, request_id: str) -> KeptAnswer | None:
        """What answered this request; None when nothing did."""
        row = self._first(sql.select(_answers.c.body, _answers.c.asked).where(_is_request(self.agent, request_id)))
        return KeptAnswer(asked=row.asked, body=bytes(row.body)) if row else None

    def conversation_with(self, transcript_digest: str) -> str | None:
        """The one conversation whose messages so far are these; None where there is none, or where several begin alike."""
        found = (_conversations.c.transcript_digest == transcript_digest) & (_conversations.c.agent == self.agent)
        query = sql.select(_conversations.c.conversation_id).where(found).limit(2)
        with reachable(self.engine, _WHAT), self.engine.connect() as connection:
            matches = connection.execute(query).scalars().all()
        return str(matches[0]) if len(matches) == 1 else None

    def _first(self, query: Any) -> Any:
        with reachable(self.engine, _WHAT), self.engine.connect() as connection:
            return connection.execute(query.limit(1)).first()

    # --- reading, afterwards ---

    def rows(self) -> Iterator[Any]:
        """Every conversation, its tools and what was said of it last, in the order they began."""
        latest = _latest_feedback(self.agent)
        told = (latest.c.outcome, latest.c.outcome_at, latest.c.score)
        query = sql.select(_conversations, _tools.c.declarations, *told).join(_tools, _tools.c.digest == _conversations.c.tools_digest)
        yield from self._stream(query, latest)

    def dealt_rows(self, epochs: Sequence[int]) -> Iterator[Any]:
        """The conversations that the split of these plans has dealt, without what was said in them."""
        columns = ("conversation_id", "unit", "variant", "epoch", "started_at", "requests", "failures")
        latest = _latest_feedback(self.agent)
        query = sql.select(*(_conversations.c[name] for name in columns), latest.c.outcome, latest.c.outcome_at)
        yield from self._stream(query.where(_conversations.c.epoch.in_(epochs), _conversations.c.is_dealt), latest)

    def _stream(self, query: Any, latest: Any) -> Iterator[Any]:
        query = (
            query.outerjoin(latest, latest.c.conversation_id == _conversations.c.conversation_id)
            .where(_conversations.c.agent == self.agent)
            .order_by(_conversations.c.started_at, _conversations.c.conversation_id)
        )
        with reachable(self.engine, _WHAT), self.engine.connect() as connection:
            yield from connection.execution_options(yield_per=500).execute(query)


def record(connection: Connection, exposure: Exposure) -> KeptAnswer | None:
    """Keeps one exposure; what leaves: an earlier answer to the same request where there is one; None for a failure."""
    columns = (_answers.c.body, _answers.c.asked)
    before = connection.execute(sql.select(*columns).where(_is_request(exposure.agent, exposure.request_id))).first()
    if before is not None:
        return KeptAnswer(asked=before.asked, body=bytes(before.body))
    tools_digest = _keep_tools(connection, exposure.tools)
    _keep_conversation(connection, exposure, tools_digest)
    if exposure.body is None:
        return None
    answer = {
        "agent": exposure.agent,
        "request_id": exposure.request_id,
        "conversation_id": exposure.conversation_id,
        "variant": exposure.answered_by,
        "epoch": exposure.assignment.epoch,
        "at": _text(exposure.at),
        "asked": exposure.asked,
        "body": exposure.body,
    }
    connection.execute(_answers.insert().values(answer))
    return KeptAnswer(asked=exposure.asked, body=exposure.body)


def record_feedback(connection: Connection, feedback: Feedback, *, agent: str, at: datetime) -> FeedbackResult:
    """Keeps one piece of feedback, once; a different outcome or score than before is a conflict unless it `corrects`."""
    found = _is_conversation(agent, feedback.conversation_id)
    if connection.execute(sql.select(_conversations.c.conversation_id).where(found)).first() is None:
        return "unknown_conversation"
    before = _said_before(connection, agent, feedback.conversation_id)
    said = {"outcome": feedback.outcome, "score": feedback.score, "comment": feedback.comment}
    news = {name: value for name, value in said.items() if value is not None and value != before[name]}
    if not news:
        return "known"
    if not feedback.corrects and any(before[name] is not None for name in news.keys() & {"outcome", "score"}):
        return "conflict"
    connection.execute(_feedback.insert().values(agent=agent, conversation_id=feedback.conversation_id, at=_text(at), **news))
    return "recorded"


def erase_served(url: str, conversation_ids: Collection[str]) -> int:
    """Takes conversations of any agent out of the log, with answers and feedback; how many there were."""
    engine, erased = open_database(url, is_wal=True), 0
    with reachable(engine, _WHAT), erasing(engine) as connection:
        lock(connection, LOCK)
        create_tables(connection, _metadata)
        for table in (_feedback, _answers, _conversations):
            erased = connection.execute(table.delete().where(table.c.conversation_id.in_(conversation_ids))).rowcount
    return erased


def are_served(url: str, conversation_ids: Collection[str]) -> bool:
    """Whether the log holds one of these conversations, of any agent."""
    query = sql.select(_conversations.c.conversation_id).where(_conversations.c.conversation_id.in_(conversation_ids)).limit(1)
    engine = open_database(url, is_wal=True)
    with reachable(engine, _WHAT), engine.begin() as connection:
        lock(connection, LOCK)
        create_tables(connection, _metadata)
        return connection.execute(query).first() is not None


def transcript_digest(messages: Sequence[Message], customer_id: str | None) -> str:
    """SHA-256 of what was said and called, however the client writes it down."""
    said = [(message.role, message.content, _calls_in(message), message.result) for message in messages]
    return hashlib.sha256(orjson.dumps((customer_id, said), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _calls_in(message: Message) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in message.tool_calls]


def _keep_tools(connection: Connection, tools: tuple[Tool, ...]) -> str:
    """The digest under which these declarations are kept: conversations share them."""
    declarations = orjson.dumps([tool.model_dump(mode="json") for tool in tools]).decode()
    digest = hashlib.sha256(declarations.encode()).hexdigest()
    if connection.execute(sql.select(_tools.c.digest).where(_tools.c.digest == digest)).first() is None:
        connection.execute(_tools.insert().values(digest=digest, declarations=declarations))
    return digest


def _keep_conversation(connection: Connection, exposure: Exposure, tools_digest: str) -> None:
    is_failure = exposure.body is None
    # What another variant was asked does not count for the one that the conversation began with.
    counts = sql.case((_conversations.c.variant == exposure.answered_by, 1), else_=0)
    is_named = not exposure.is_dealt and exposure.answered_by != exposure.assignment.variant
    now = {
        "held_variant": exposure.assignment.variant,
        "held_epoch": exposure.assignment.epoch,
        "ended_at": _text(exposure.at),
        "transcript": orjson.dumps([message.model_dump(mode="json", exclude_defaults=True) for message in exposure.messages]).decode(),
        "transcript_digest": transcript_digest(exposure.messages, exposure.customer_id),
        "tools_digest": tools_digest,
    }
    sums = {
        "requests": _conversations.c.requests + counts,
        "failures": _conversations.c.failures + (counts if is_failure else 0),
        "agent_tokens": _conversations.c.agent_tokens + exposure.agent_tokens,
        "latency_seconds": _conversations.c.latency_seconds + exposure.latency_seconds,
    }
    known = _is_conversation(exposure.agent, exposure.conversation_id)
    no_longer_dealt = {"is_dealt": False} if is_named else {}
    if connection.execute(_conversations.update().where(known).values(**now, **sums, **no_longer_dealt)).rowcount:
        return
    first = {
        "conversation_id": exposure.conversation_id,
        "agent": exposure.agent,
        "unit": exposure.unit,
        "customer_id": exposure.customer_id,
        "variant": exposure.assignment.variant,
        "epoch": exposure.assignment.epoch,
        "is_dealt": exposure.is_dealt,
        "started_at": _text(exposure.at),
        "requests": 1,
        "failures": int(is_failure),
        "agent_tokens": exposure.agent_tokens,
        "latency_seconds": exposure.latency_seconds,
        "tags": orjson.dumps(exposure.tags).decode(),
    }
    connection.execute(_conversations.insert().values(**first, **now))


def _said_before(connection: Connection, agent: str, conversation_id: str) -> dict[str, Any]:
    columns = (_feedback.c.outcome, _feedback.c.score, _feedback.c.comment)
    of_conversation = (_feedback.c.agent == agent) & (_feedback.c.conversation_id == conversation_id)
    said: dict[str, Any] = {"outcome": None, "score": None, "comment": None}
    for row in connection.execute(sql.select(*columns).where(of_conversation).order_by(_feedback.c.number)):
        said |= {name: value for name, value in row._mapping.items() if value is not None}
    return said


def _is_conversation(agent: str, conversation_id: str) -> Any:
    return (_conversations.c.agent == agent) & (_conversations.c.conversation_id == conversation_id)


def _is_request(agent: str, request_id: str) -> Any:
    return (_answers.c.agent == agent) & (_answers.c.request_id == request_id)


def _latest_feedback(agent: str) -> Any:
    """For each conversation of the agent, the last outcome with its time and the last score."""
    last = {
        name: sql.select(_feedback.c.conversation_id, sql.func.max(_feedback.c.number).label("number"))
        .where(_feedback.c[name].is_not(None), _feedback.c.agent == agent)
        .group_by(_feedback.c.conversation_id)
        .subquery(f"last_{name}")
        for name in ("outcome", "score")
    }
    everybody = sql.select(_feedback.c.conversation_id).where(_feedback.c.agent == agent).distinct().subquery("everybody")
    outcome, score = _feedback.alias("outcomes"), _feedback.alias("scores")
    return (
        sql.select(
            everybody.c.conversation_id,
            outcome.c.outcome.label("outcome"),
            outcome.c.at.label("outcome_at"),
            score.c.score.label("score"),
        )
        .outerjoin(last["outcome"], last["outcome"].c.conversation_id == everybody.c.conversation_id)
        .outerjoin(outcome, outcome.c.number == last["outcome"].c.number)
        .outerjoin(last["score"], last["score"].c.conversation_id == everybody.c.conversation_id)
        .outerjoin(score, score.c.number == last["score"].c.number)
        .subquery("latest")
    )


def _text(at: datetime) -> str:
    if at.tzinfo is None:
        raise InvalidInput(f"A time in the log must say its zone; got {at!r}. Use datetime.now(UTC).")
    return at.isoformat(timespec="microseconds")
