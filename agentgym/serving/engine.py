"""What answers: a policy on a thread of its own that takes whatever waits as one batch, or an upstream over HTTP."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

import orjson

from agentgym.episode import Action, Conversation, TrainablePolicy
from agentgym.messages import Message
from agentgym.serving.openai_api import ApiError, ChatRequest, Usage, estimated_usage

_LARGEST_BATCH = 64
# A policy reads about sixty characters in a millisecond, and everybody waits for whoever is read.
_MOST_CHARACTERS = 60_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The assistant's message and what it cost."""

    message: Message
    usage: Usage


class Engine(Protocol):
    """One version, ready to answer."""

    async def answer(self, request: ChatRequest, conversation: Conversation) -> Answer:
        """The next message. Raises Unavailable when it cannot be had."""
        ...

    async def close(self) -> None:
        """Gives back what it holds; nobody asks it any more."""
        ...


class PolicyEngine:
    """A policy of our own, played by a worker that several of them share."""

    def __init__(self, policy: TrainablePolicy, worker: "PolicyWorker") -> None:
        self._policy, self._worker = policy, worker

    async def answer(self, request: ChatRequest, conversation: Conversation) -> Answer:
        _require_readable(conversation)
        action = await self._worker.act(self._policy, conversation)
        return Answer(message=action.message, usage=estimated_usage(conversation.messages, action.message))

    async def close(self) -> None:
        """Nothing is held that the garbage collector would not take."""


def _require_readable(conversation: Conversation) -> None:
    """Raises ApiError for a conversation that would keep everybody else waiting."""
    characters = sum(len(message.content) or len(orjson.dumps(message.result)) for message in conversation.messages)
    if characters > _MOST_CHARACTERS:
        raise ApiError(
            status=400,
            message=f"A policy reads at most {_MOST_CHARACTERS:,} characters of a conversation; this one has {characters:,}. Shorten it.",
            code="context_length_exceeded",
            param="messages",
        )


@dataclass(frozen=True, slots=True)
class _Waiting:
    policy: TrainablePolicy
    conversation: Conversation
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Action]"

    def settle(self, action: Action | BaseException) -> None:
        self.loop.call_soon_threadsafe(_settle, self.future, action)


class PolicyWorker:
    """The one thread on which policies act, since what they remember of conversations is not shared between threads."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="policy-worker", daemon=True)
        self._thread.start()

    async def act(self, policy: TrainablePolicy, conversation: Conversation) -> Action:
        """The policy's most probable action."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(policy, conversation, loop, loop.create_future())
        self._queue.put(waiting)
        return await waiting.future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            while len(batch) < _LARGEST_BATCH and not self._queue.empty():
                other = self._queue.get()
                if other is None:
                    _act(batch)
                    return
                batch.append(other)
            _act(batch)


def _act(batch: Sequence[_Waiting]) -> None:
    """One call for each policy; where that fails, one for each conversation, so that a bad one fails alone."""
    for policy in {id(waiting.policy): waiting.policy for waiting in batch}.values():
        group = [waiting for waiting in batch if waiting.policy is policy]
        try:
            actions: Sequence[Action | BaseException] = policy.act_batch([waiting.conversation for waiting in group], rng=None)
        except Exception as error:
            actions = [error] if len(group) == 1 else [_alone(waiting) for waiting in group]
        for waiting, action in zip(group, actions, strict=True):
            waiting.settle(action)


def _alone(waiting: _Waiting) -> Action | BaseException:
    try:
        return waiting.policy.act_batch([waiting.conversation], rng=None)[0]
    except Exception as error:
        return error


def _settle(future: "asyncio.Future[Action]", action: Action | BaseException) -> None:
    if future.done():
        return
    if isinstance(action, BaseException):
        future.set_exception(action)
    else:
        future.set_result(action)
