"""One replica's work, without Ray: who asks, which version answers, what is kept, and what leaves."""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4

import orjson
from pydantic import ValidationError

from agentgym.episode import Conversation
from agentgym.errors import AgentGymError
from agentgym.serving.api_keys import ApiKeys, digest_of
from agentgym.serving.engine import Answer, Engine
from agentgym.serving.exposure_log import (
    LOCK,
    Exposure,
    ExposureLog,
    Feedback,
    KeptAnswer,
    record,
    record_feedback,
    transcript_digest,
)
from agentgym.serving.group_commit import GroupCommit
from agentgym.serving.openai_api import ApiError, ChatRequest, completion, read_chat_request, read_json_object
from agentgym.serving.plan import Assignment, TrafficPlan
from agentgym.store import ArtifactRef

Result = TypeVar("Result")
LoadEngine = Callable[[ArtifactRef], Engine]
_REMEMBERED_CONVERSATIONS = 50_000
_KEYS_GOOD_FOR_SECONDS, _KEYS_GOOD_AT_ALL_SECONDS = 2.0, 60.0
_BEHIND_SECONDS = 3.0
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 60.0
_LONGEST_ANSWER_SECONDS = 120.0
log = logging.getLogger("agentgym.serving")


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayState:
    """What a replica holds.

    refused_epoch: of the latest plan it could not follow; None where there is none.   problem: which version did not load, and why.
    """

    epoch: int | None
    refused_epoch: int | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """A body that leaves.   variant, conversation_id: also told in headers, for clients that read no more than OpenAI's fields."""

    body: dict[str, Any]
    variant: str
    conversation_id: str
    is_stream: bool


class Gateway:
    """Answers for one agent. It begins without a plan and answers nothing until it follows one."""

    def __init__(self, agent: str, database_url: str, load_engine: LoadEngine, *, clock: Callable[[], datetime]) -> None:
        self.agent = agent
        self._load_engine, self._clock = load_engine, clock
        self._log = ExposureLog(database_url, agent)
        self._keys = ApiKeys(database_url)
        self._commit = GroupCommit(self._log.engine, lock_name=LOCK, what="The log of what was served")
        self._plan: TrafficPlan | None = None
        self._wanted: TrafficPlan | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._engines: dict[str, Engine] = {}
        self._state = GatewayState(epoch=None)
        self._followed = asyncio.Condition()
        self._held: OrderedDict[str, Assignment] = OrderedDict()
        self._under_way: dict[str, tuple[str, asyncio.Task[dict[str, Any]]]] = {}
        self._known_keys: frozenset[str] = frozenset()
        self._keys_read_at = -_KEYS_GOOD_FOR_SECONDS

    # --- following a plan ---

    @property
    def state(self) -> GatewayState:
        return self._state

    @property
    def is_alive(self) -> bool:
        """Whether it can still keep what it answers."""
        return self._commit.is_alive

    async def follow(self, plan: TrafficPlan) -> None:
        """Serves by this plan once the versions that it needs are loaded.

        Where one of those does not load everything stays as it was; any other is left out. `state` says so, and it is tried again, less and
        less often. An older plan than the present one is left alone: updates may overtake each other.
        """
        if self._wanted is None or plan.epoch > self._wanted.epoch:
            self._wanted = plan
            await self._load(plan, retry_seconds=_RETRY_SECONDS)

    async def _load(self, plan: TrafficPlan, *, retry_seconds: float) -> None:
        engines, problems = await self._engines_of(plan)
        if self._wanted is not plan:
            return
        problem = "; ".join(f"version {name}: {told}" for name, told in problems.items()) or None
        if problems.keys() & plan.needed:
            self._state = GatewayState(epoch=self._state.epoch, refused_epoch=plan.epoch, problem=problem)
        else:
            async with self._followed:
                dropped = [engine for name, engine in self._engines.items() if engines.get(name) is not engine]
                self._plan, self._engines, self._state = plan, engines, GatewayState(epoch=plan.epoch, problem=problem)
                self._followed.notify_all()
            self._close_later(dropped)
        if problems:
            log.warning("a version did not load; trying again in %g s: epoch %s, %s", retry_seconds, plan.epoch, problem)
            self._in_background(self._load_later(plan, retry_seconds))

    async def _load_later(self, plan: TrafficPlan, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._wanted is plan:
            await self._load(plan, retry_seconds=min(2 * seconds, _LONGEST_RETRY_SECONDS))

    async def _engines_of(self, plan: TrafficPlan) -> tuple[dict[str, Engine], dict[str, str]]:
        """What loads, and what is wrong with what does not."""
        engines, problems = {}, {}
        for name, ref in plan.versions.items():
            held = self._plan is not None and self._plan.versions.get(name) == ref and name in self._engines
            try:
                engines[name] = self._engines[name] if held else await asyncio.to_thread(self._load_engine, ref)
            except Exception as error:
                # Whatever a file of weights can do to a loader must not take down what is being served.
                problems[name] = f"{type(error).__name__}: {error}"
        return engines, problems

    def _close_later(self, engines: list[Engine]) -> None:
        """Closes engines once the requests that still use them must have ended."""

        async def close() -> None:
            await asyncio.sleep(_LONGEST_ANSWER_SECONDS)
            for engine in engines:
                await engine.close()

        if engines:
            self._in_background(close())

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # --- answering ---

    async def authorize(self, headers: Mapping[str, str]) -> None:
        """Raises ApiError unless the request carries a key that is in use."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ApiError(status=401, message="A request needs a key. Send `Authorization: Bearer KEY`.", code="missing_api_key")
        if digest_of(key) not in await self._keys_in_use():
            raise ApiError(
                status=401, message="The key is not one in use. Ask for a new one: agentgym keys create.", code="invalid_api_key"
            )

    async def _keys_in_use(self) -> frozenset[str]:
        """The digests of keys, a few seconds old at the most; a database that is away does not lock out whoever was known a minute ago."""
        age = time.monotonic() - self._keys_read_at
        if age > _KEYS_GOOD_FOR_SECONDS:
            try:
                self._known_keys, self._keys_read_at = await asyncio.to_thread(self._keys.digests_in_use), time.monotonic()
            except AgentGymError as error:
                if age > _KEYS_GOOD_AT_ALL_SECONDS:
                    raise _unkept(error) from error
        return self._known_keys

    def models(self) -> list[dict[str, Any]]:
        """OpenAI's list: the agent, whose versions share its traffic, and each version by itself."""
        self._present_plan()
        names = [self.agent, *(f"{self.agent}:{variant}" for variant in sorted(self._engines))]
        return [{"id": name, "object": "model", "created": 0, "owned_by": "agentgym"} for name in names]

    async def chat(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """The answer, once it is durable. Equal requests with equal ids get the same one. Raises ApiError."""
        request, asked = read_chat_request(read_json_object(body), headers), hashlib.sha256(body).hexdigest()
        request_id = request.request_id or uuid4().hex
        kept = await self._reading(self._log.answer_to, request_id) if request.request_id is not None else None
        answer = _same_request(request_id, asked, kept) if kept else await self._once(request, request_id, asked)
        return Reply(body=answer, variant=answer["version"], conversation_id=answer["conversation_id"], is_stream=request.is_stream)

    async def feedback(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """What was made of the feedback. Raises ApiError for an unknown conversation, or one that was told otherwise before."""
        given = _read_feedback(body, headers)
        result = await self._writing(lambda connection: record_feedback(connection, given, agent=self.agent, at=self._clock()))
        if result == "unknown_conversation":
            raise ApiError(
                status=404,
                message=f"Feedback is about a served conversation; {given.conversation_id!r} is none. Use the answer's conversation_id.",
                code="conversation_not_found",
                param="conversation_id",
            )
        if result == "conflict":
            raise ApiError(
                status=409,
                message=f"A conversation has one outcome and one score; {given.conversation_id!r} was told otherwise before. "
                "Send `corrects: true` to replace it.",
                code="feedback_conflict",
            )
        return {"object": "feedback", "conversation_id": given.conversation_id, "recorded": result == "recorded"}

    async def _once(self, request: ChatRequest, request_id: str, asked: str) -> dict[str, Any]:
        """A request that is repeated while it is being answered waits for that answer."""
        if request_id not in self._under_way:
            task = asyncio.ensure_future(self._answer(request, request_id, asked))
            self._under_way[request_id] = asked, task
            task.add_done_callback(lambda done: self._is_done(request_id, done))
        asked_first, task = self._under_way[request_id]
        if asked_first != asked:
            raise _other_request(request_id)
        # A client that hangs up does not take the answer away from one that asked again.
        return await asyncio.shield(task)

    def _is_done(self, request_id: str, done: "asyncio.Task[dict[str, Any]]") -> None:
        del self._under_way[request_id]
        if not done.cancelled():
            # Where everybody has hung up, nobody else asks what went wrong.
            done.exception()

    async def _answer(self, request: ChatRequest, request_id: str, asked: str) -> dict[str, Any]:
        known_id = request.conversation_id or await self._recognised(request)
        # A named request begins the same conversation however often it is tried.
        conversation_id = known_id or (_digest(self.agent, request_id)[:32] if request.request_id else uuid4().hex)
        plan, began = await self._plan_and_beginning(conversation_id, is_new=known_id is None and request.request_id is None)
        named = self._variant_named(request.model)
        unit = request.customer_id or conversation_id
        held = plan.variant_for(unit, began if began and began.variant in self._engines else None)
        variant = named or held
        stays = began is not None and plan.holds(began) and began.variant == held
        assignment = began if began and stays else Assignment(variant=held if began or not named else variant, epoch=plan.epoch)
        now, started = self._clock(), time.perf_counter()
        conversation = Conversation(conversation_id=conversation_id, messages=request.messages, tools=request.tools, now=now)

        def exposure(answer: Answer | None, body: bytes | None) -> Exposure:
            return Exposure(
                request_id=request_id,
                asked=asked,
                conversation_id=conversation_id,
                agent=self.agent,
                unit=unit,
                customer_id=request.customer_id,
                assignment=assignment,
                answered_by=variant,
                is_dealt=named is None,
                at=now,
                messages=request.messages if answer is None else (*request.messages, answer.message),
                tools=request.tools,
                tags=dict(request.tags),
                agent_tokens=answer.usage.completion_tokens if answer else 0,
                latency_seconds=time.perf_counter() - started,
                body=body,
            )

        try:
            answer = await self._engines[variant].answer(request, conversation)
        except ApiError:
            # The request cannot be answered by anybody, so it is no failure of the version.
            raise
        except Exception as error:
            await self._writing(lambda connection: record(connection, exposure(None, None)))
            raise _failed(error, variant) from error
        answered = completion(
            answer.message,
            usage=answer.usage,
            request_id=request_id,
            model=f"{self.agent}:{variant}",
            variant=variant,
            conversation_id=conversation_id,
            digest=plan.versions[variant].digest,
            at=now,
        )
        kept = await self._writing(lambda connection: record(connection, exposure(answer, orjson.dumps(answered))))
        assert kept is not None, "what has a body is kept with it"
        self._remember(conversation_id, assignment)
        return _same_request(request_id, asked, kept)

    async def _plan_and_beginning(self, conversation_id: str, *, is_new: bool) -> tuple[TrafficPlan, Assignment | None]:
        """The plan to go by, and how the conversation began; None where it begins now.

        What this replica remembers is good only as long as it holds: another one may have moved the conversation since.
        """
        plan = self._present_plan()
        remembered = self._held.get(conversation_id)
        if remembered is not None and plan.holds(remembered):
            return plan, remembered
        began = None if is_new else await self._reading(self._log.assignment_of, conversation_id)
        return await self._plan_at_least(began.epoch if began else 0), began

    async def _recognised(self, request: ChatRequest) -> str | None:
        """The conversation that a client continues without naming it: the one that ended with these words of ours."""
        places = [place for place, message in enumerate(request.messages) if message.role == "assistant"]
        if not places:
            return None
        digest = transcript_digest(request.messages[: places[-1] + 1], request.customer_id)
        return await self._reading(self._log.conversation_with, digest)

    def _remember(self, conversation_id: str, assignment: Assignment) -> None:
        self._held[conversation_id] = assignment
        self._held.move_to_end(conversation_id)
        if len(self._held) > _REMEMBERED_CONVERSATIONS:
            self._held.popitem(last=False)

    def _variant_named(self, model: str) -> str | None:
        """The version that `AGENT:VERSION` names; None for `AGENT`, which leaves it to the split."""
        agent, _, variant = model.partition(":")
        if agent == self.agent and (not variant or variant in self._engines):
            return variant or None
        known = ", ".join([self.agent, *(f"{self.agent}:{name}" for name in sorted(self._engines))])
        raise ApiError(
            status=404,
            message=f"A request must name a model that is served; {model[:80]!r} is none. Served: {known}.",
            code="model_not_found",
            param="model",
        )

    def _present_plan(self) -> TrafficPlan:
        if self._plan is None:
            reason = "its version does not load" if self._state.problem else "it has not been told yet what to serve"
            raise ApiError(
                status=503, message=f"The endpoint serves nothing: {reason}. Try again; `agentgym doctor` knows more.", kind="server_error"
            )
        return self._plan

    async def _plan_at_least(self, epoch: int) -> TrafficPlan:
        """The plan, after waiting a little where another replica has already dealt by a later one."""
        if self._present_plan().epoch < epoch:
            async with self._followed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._followed.wait_for(lambda: self._present_plan().epoch >= epoch), _BEHIND_SECONDS)
        return self._present_plan()

    # --- the database, off the event loop ---

    async def _reading(self, read: Callable[[str], Result], key: str) -> Result:
        try:
            return await asyncio.to_thread(read, key)
        except AgentGymError as error:
            raise _unkept(error) from error

    async def _writing(self, write: Callable[[Any], Result]) -> Result:
        """What `write` gave, once it is durable; it is written also when the client has hung up meanwhile."""
        try:
            return await asyncio.shield(asyncio.wrap_future(self._commit.submit(write)))
        except AgentGymError as error:
            raise _unkept(error) from error


def _read_feedback(body: bytes, headers: Mapping[str, str]) -> Feedback:
    fields = read_json_object(body)
    if "x-conversation-id" in headers:
        fields.setdefault("conversation_id", headers["x-conversation-id"])
    try:
        return Feedback.model_validate(fields)
    except ValidationError as error:
        fault = error.errors()[0]
        param = ".".join(map(str, fault["loc"])) or None
        message = f"{param}: {fault['msg']}" if param else str(fault["msg"]).removeprefix("Value error, ")
        raise ApiError(status=400, message=message, param=param) from error


def _same_request(request_id: str, asked: str, kept: KeptAnswer) -> dict[str, Any]:
    """The answer that was kept. Raises ApiError when it answered another request."""
    if kept.asked != asked:
        raise _other_request(request_id)
    return orjson.loads(kept.body)  # type: ignore[no-any-return]


def _other_request(request_id: str) -> ApiError:
    return ApiError(
        status=422,
        message=f"An idempotency key belongs to one request; {request_id!r} came with another one before. Use a new key.",
        code="idempotency_mismatch",
    )


def _failed(error: Exception, variant: str) -> ApiError:
    """What a client is told of a version that gave no answer; never the error's own text, which may hold a customer's words.

    What it cannot do is no fault of the client's, whatever an upstream calls it.
    """
    is_told = isinstance(error, AgentGymError)
    log.warning("version %s gave no answer: %s", variant, error if is_told else type(error).__name__)
    told = f"Version {variant} gave no answer ({type(error).__name__}). Try again."
    return ApiError(status=502 if is_told else 500, message=told, kind="server_error", code="version_failed")


def _unkept(error: AgentGymError) -> ApiError:
    """What a client is told of a database that is away: nothing of where it is."""
    log.warning("the database did not answer: %s", error)
    return ApiError(status=503, message="The endpoint cannot keep what it answers just now. Try again.", kind="server_error")


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
