"""One replica's work, without Ray: who asks, which version answers, what is kept, and what leaves."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
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
from agentgym.serving.exposure_log import LOCK, Exposure, ExposureLog, Feedback, record, record_feedback, transcript_digest
from agentgym.serving.group_commit import GroupCommit
from agentgym.serving.openai_api import ApiError, ChatRequest, completion, read_chat_request, read_json_object
from agentgym.serving.plan import Assignment, TrafficPlan
from agentgym.store import ArtifactRef

Result = TypeVar("Result")
LoadEngine = Callable[[ArtifactRef], Engine]
_REMEMBERED_CONVERSATIONS = 50_000
_KEYS_GOOD_FOR_SECONDS = 2.0
_BEHIND_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewayState:
    """What a replica holds.   refused_epoch, problem: the latest plan it could not follow, and why; None where there is none."""

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
        self._engines: dict[str, Engine] = {}
        self._state = GatewayState(epoch=None)
        self._followed = asyncio.Condition()
        self._held: OrderedDict[str, Assignment] = OrderedDict()
        self._under_way: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._known_keys: frozenset[str] = frozenset()
        self._keys_read_at = -_KEYS_GOOD_FOR_SECONDS

    # --- following a plan ---

    @property
    def state(self) -> GatewayState:
        return self._state

    async def follow(self, plan: TrafficPlan) -> None:
        """Serves by this plan once all its versions are loaded; one that does not load leaves everything as it was, and `state` says so.

        An older plan than the present one is left alone: updates may overtake each other.
        """
        async with self._followed:
            if self._plan is not None and plan.epoch <= self._plan.epoch:
                return
            try:
                engines = {name: await self._engine(name, ref) for name, ref in plan.versions.items()}
            except Exception as error:
                # Whatever a file of weights can do to a loader must not take down what is being served.
                self._state = GatewayState(epoch=self._state.epoch, refused_epoch=plan.epoch, problem=f"{type(error).__name__}: {error}")
                return
            self._plan, self._engines, self._state = plan, engines, GatewayState(epoch=plan.epoch)
            self._followed.notify_all()

    async def _engine(self, name: str, ref: ArtifactRef) -> Engine:
        if self._plan is not None and self._plan.versions.get(name) == ref:
            return self._engines[name]
        return await asyncio.to_thread(self._load_engine, ref)

    # --- answering ---

    def authorize(self, headers: Mapping[str, str]) -> None:
        """Raises ApiError unless the request carries a key that is in use."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ApiError(status=401, message="A request needs a key. Send `Authorization: Bearer KEY`.", code="missing_api_key")
        age = time.monotonic() - self._keys_read_at
        if age > _KEYS_GOOD_FOR_SECONDS:
            self._known_keys, self._keys_read_at = self._keys.digests_in_use(), time.monotonic()
        if digest_of(key) not in self._known_keys:
            raise ApiError(
                status=401, message="The key is not one in use. Ask for a new one: agentgym keys create.", code="invalid_api_key"
            )

    def models(self) -> list[dict[str, Any]]:
        """OpenAI's list: the agent, whose versions share its traffic, and each version by itself."""
        plan = self._present_plan()
        names = [self.agent, *(f"{self.agent}:{variant}" for variant in sorted(plan.versions))]
        return [{"id": name, "object": "model", "created": 0, "owned_by": "agentgym"} for name in names]

    async def chat(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """The answer, once it is durable. Equal request ids get the same one. Raises ApiError."""
        request = read_chat_request(read_json_object(body), headers)
        self._variant_asked_for(request.model, self._present_plan())
        request_id = request.request_id or uuid4().hex
        if request.request_id is not None and (answered := await self._reading(self._log.answer_to, request_id)):
            answer = orjson.loads(answered)
        else:
            answer = await self._once(request_id, lambda: self._answer(request, request_id))
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

    async def _once(self, request_id: str, answer: Callable[[], Coroutine[Any, Any, dict[str, Any]]]) -> dict[str, Any]:
        """A request that is repeated while it is being answered waits for that answer."""
        task = self._under_way.get(request_id)
        if task is None:
            task = self._under_way[request_id] = asyncio.ensure_future(answer())
            task.add_done_callback(lambda _: self._under_way.pop(request_id, None))
        # A client that hangs up does not take the answer away from one that asked again.
        return await asyncio.shield(task)

    async def _answer(self, request: ChatRequest, request_id: str) -> dict[str, Any]:
        known_id = request.conversation_id or await self._recognised(request)
        began = await self._assignment(known_id) if known_id else None
        conversation_id = known_id or uuid4().hex
        plan = await self._plan_at_least(began.epoch if began else 0)
        asked_for = self._variant_asked_for(request.model, plan)
        unit = request.customer_id or conversation_id
        variant = asked_for or plan.variant_for(unit, began)
        assignment = began if began and began.variant == variant else Assignment(variant=variant, epoch=plan.epoch)
        now, started = self._clock(), time.perf_counter()
        conversation = Conversation(conversation_id=conversation_id, messages=request.messages, tools=request.tools, now=now)

        def exposure(answer: Answer | None, body: bytes | None) -> Exposure:
            return Exposure(
                request_id=request_id,
                conversation_id=conversation_id,
                agent=self.agent,
                unit=unit,
                customer_id=request.customer_id,
                assignment=assignment,
                is_dealt=asked_for is None,
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
        except Exception as error:
            await self._writing(lambda connection: record(connection, exposure(None, None)))
            raise _failure(error, variant) from error
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
        return orjson.loads(kept)  # type: ignore[no-any-return]

    async def _recognised(self, request: ChatRequest) -> str | None:
        """The conversation that a client continues without naming it: the one that ended with these words of ours."""
        places = [place for place, message in enumerate(request.messages) if message.role == "assistant"]
        if not places:
            return None
        digest = transcript_digest(request.messages[: places[-1] + 1], request.customer_id)
        return await self._reading(self._log.conversation_with, digest)

    async def _assignment(self, conversation_id: str) -> Assignment | None:
        """The variant that holds a conversation; None where it begins now."""
        if conversation_id in self._held:
            return self._held[conversation_id]
        return await self._reading(self._log.assignment_of, conversation_id)

    def _remember(self, conversation_id: str, assignment: Assignment) -> None:
        self._held[conversation_id] = assignment
        self._held.move_to_end(conversation_id)
        if len(self._held) > _REMEMBERED_CONVERSATIONS:
            self._held.popitem(last=False)

    def _variant_asked_for(self, model: str, plan: TrafficPlan) -> str | None:
        """The version that `AGENT:VERSION` names; None for `AGENT`, which leaves it to the split."""
        agent, _, variant = model.partition(":")
        if agent == self.agent and (not variant or variant in plan.versions):
            return variant or None
        known = ", ".join([self.agent, *(f"{self.agent}:{name}" for name in sorted(plan.versions))])
        raise ApiError(
            status=404,
            message=f"A request must name a model that is served; {model[:80]!r} is none. Served: {known}.",
            code="model_not_found",
            param="model",
        )

    def _present_plan(self) -> TrafficPlan:
        if self._plan is None:
            reason = self._state.problem or "it has not been told yet what to serve"
            raise ApiError(
                status=503, message=f"The endpoint serves nothing: {reason}. Try again, or ask `agentgym doctor`.", kind="server_error"
            )
        return self._plan

    async def _plan_at_least(self, epoch: int) -> TrafficPlan:
        """The plan, after waiting where another replica has already dealt by a later one."""
        plan = self._present_plan()
        if plan.epoch >= epoch:
            return plan
        async with self._followed:
            try:
                await asyncio.wait_for(self._followed.wait_for(lambda: self._present_plan().epoch >= epoch), _BEHIND_SECONDS)
            except TimeoutError:
                return self._present_plan()
        return self._present_plan()

    # --- the database, off the event loop ---

    async def _reading(self, read: Callable[[str], Result], key: str) -> Result:
        try:
            return await asyncio.to_thread(read, key)
        except AgentGymError as error:
            raise _failure(error, None) from error

    async def _writing(self, write: Callable[[Any], Result]) -> Result:
        try:
            return await asyncio.wrap_future(self._commit.submit(write))
        except AgentGymError as error:
            raise _failure(error, None) from error


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


def _failure(error: Exception, variant: str | None) -> ApiError:
    """What a client is told; never the text of an error we did not write, which may hold a customer's words."""
    if isinstance(error, AgentGymError):
        # What a version cannot do is no fault of the client's, whatever an upstream calls it.
        status, told = 503 if variant is None else 502, str(error)
    else:
        status, told = 500, f"{type(error).__name__} inside version {variant}"
    return ApiError(status=status, message=told, kind="server_error", code=None if variant is None else "version_failed")
