"""The warm start of a language model: it learns to write what the assistant of accepted conversations wrote.

A base that is loaded learns by its adapter; a `tiny` one, which begins as noise, learns with all its weights, and the language besides.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from agentgym.episode import Conversation
from agentgym.errors import InsufficientData
from agentgym.messages import Message, assistant
from agentgym.policies.causal_lm.base_models import base_digest, load_base, make_tiny
from agentgym.policies.causal_lm.causal_lm import CausalLM
from agentgym.policies.causal_lm.chat_format import call_text, json_text
from agentgym.policies.causal_lm.config import TINY, CausalLMConfig
from agentgym.policies.causal_lm.network import decided, tensors
from agentgym.policies.causal_lm.rows import TokenChoice, Written
from agentgym.policies.planner.examples import UNKNOWN_START, is_refused_at, one_call_at_a_time, upcoming_calls
from agentgym.policies.planner.gazetteer import learn_gazetteer
from agentgym.policies.planner.planner import Knowledge
from agentgym.policies.planner.word_weights import learn_word_weights
from agentgym.policies.replies import TemplateReplies
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.training.warm_start import accepted, words_said

Progress = Callable[[str, float], None]


class LanguageImitationConfig(BaseModel):
    """One imitation by a language model.

    epochs: passes over the conversations.   batch_size: conversations an update learns from.   learning_rate: at its highest; of all
    weights of `tiny`, of the adapter of any other base.   language_weight: of every token's log-probability beside that of the decided
    ones, where a base begins as noise.   time_limit_seconds: no update begins after it; a run that the clock stops is not
    repeatable.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    causal_lm: CausalLMConfig = CausalLMConfig()
    epochs: int = Field(default=6, ge=1, le=1000)
    batch_size: int = Field(default=4, ge=1, le=4096)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    language_weight: float = Field(default=0.1, ge=0, le=10)
    time_limit_seconds: float | None = Field(default=None, gt=0)


def imitate_in_language(
    traces: Sequence[Trace],
    *,
    tools: Sequence[Tool] = (),
    seed: int,
    config: LanguageImitationConfig | None = None,
    device: str = "cpu",
    on_progress: Progress = lambda stage, share: None,
) -> CausalLM:
    """A language model that writes what the assistant did in these traces.

    tools: in scope where a trace names none. Traces that are known to have failed are left out. Deterministic under a seed.
    Raises InsufficientData when no accepted turn can be written.
    """
    config = config or LanguageImitationConfig()
    kept = accepted(traces)
    torch.manual_seed(seed)
    policy = _policy(kept, tools, seed, config, device)
    lessons = [lesson for trace in kept if (lesson := _lesson(policy, trace, tools)) is not None]
    if not lessons:
        raise InsufficientData(
            f"Imitation needs an assistant turn that can be written; got none in {len(kept)} accepted traces. Bring traces with calls."
        )
    _fit(policy, lessons, config, np.random.default_rng(seed), on_progress)
    return policy


def _policy(traces: Sequence[Trace], tools: Sequence[Tool], seed: int, config: LanguageImitationConfig, device: str) -> CausalLM:
    scopes = [{tool.name: tool for tool in trace.tools or tools} for trace in traces]
    gazetteer = learn_gazetteer((trace.messages, scope) for trace, scope in zip(traces, scopes, strict=True))
    words = learn_word_weights([words_said(trace) for trace in traces])
    chosen = config.causal_lm
    if chosen.base == TINY:
        lm, tokenizer = make_tiny(_texts(traces, tools), seed=seed)
    else:
        lm, tokenizer = load_base(chosen, device=device)
        chosen = chosen.model_copy(update={"base_digest": base_digest(chosen.base, lm)})
    return CausalLM(lm.to(device), tokenizer, Knowledge(gazetteer, words), chosen)


def _texts(traces: Sequence[Trace], tools: Sequence[Tool]) -> Iterator[str]:
    """Everything that is said in these conversations, and the replies that can be chosen."""
    replies = TemplateReplies()
    for tool in {tool.name: tool for trace in traces for tool in trace.tools or tools}.values():
        for name in tool.required:
            yield replies.ask(_conversation(traces[0], (), (tool,)), tool, [name])
    for trace in traces:
        for message in trace.messages:
            yield from (call_text(call.name, call.arguments) for call in message.tool_calls)
            yield json_text(message.result) if message.role == "tool" and message.result is not None else message.content


@dataclass(frozen=True, eq=False, slots=True)
class _Lesson:
    """A conversation to imitate: the tokens decided in it."""

    choices: list[TokenChoice]


def _lesson(policy: CausalLM, trace: Trace, tools: Sequence[Tool]) -> _Lesson | None:
    """What the assistant wrote, in a conversation in which it said it as the policy says it."""
    messages = list(one_call_at_a_time(trace.messages))
    upcoming = upcoming_calls(messages)
    scope = trace.tools or tuple(tools)
    told: list[Message] = []
    choices: list[TokenChoice] = []
    for place, message in enumerate(messages):
        if message.role == "assistant":
            conversation = _conversation(trace, tuple(told), scope)
            cursor = policy.written(conversation, message, next_call=upcoming[place])
            if cursor is not None:
                if not is_refused_at(messages, place):
                    written = Written(policy.prompt_of(conversation), tuple(cursor.tokens))
                    choices += [TokenChoice(written, choice) for choice in cursor.choices]
                message = message if message.tool_calls else assistant(cursor.text)
        told.append(message)
    return _Lesson(choices) if choices else None


def _conversation(trace: Trace, messages: tuple[Message, ...], tools: tuple[Tool, ...]) -> Conversation:
    return Conversation(conversation_id=trace.conversation_id, messages=messages, tools=tools, now=trace.started_at or UNKNOWN_START)


# --- fitting ---


def _fit(
    policy: CausalLM, lessons: Sequence[_Lesson], config: LanguageImitationConfig, rng: np.random.Generator, on_progress: Progress
) -> None:
    learns_language = config.causal_lm.base == TINY
    network = policy.network
    parameters = network.learn_base() if learns_language else [values for values in network.parameters() if values.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.01)
    steps = config.epochs * -(-len(lessons) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps + 1)
    began = monotonic()
    for step, batch in enumerate(_batches(policy, lessons, config, rng)):
        if config.time_limit_seconds is not None and monotonic() - began > config.time_limit_seconds:
            break
        optimizer.zero_grad()
        torch.autograd.backward(_loss(network.lm, batch, config.language_weight if learns_language else 0.0))
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        on_progress("imitating", step / steps)
    if learns_language:
        network.learn_adapter()


def _batches(
    policy: CausalLM, lessons: Sequence[_Lesson], config: LanguageImitationConfig, rng: np.random.Generator
) -> Iterator[dict[str, Tensor]]:
    for _ in range(config.epochs):
        order = rng.permutation(len(lessons))
        for first in range(0, len(order), config.batch_size):
            choices = [choice for place in order[first : first + config.batch_size] for choice in lessons[place].choices]
            yield tensors(policy.collated(choices))


def _loss(lm: Any, batch: dict[str, Tensor], language_weight: float) -> Tensor:
    """Mean negative log-probability of the decided tokens, and of every token at its weight."""
    with torch.autocast(lm.device.type, torch.bfloat16):
        outputs = decided(lm, batch, reads=language_weight > 0)
    loss = -outputs["log_probability"].mean()
    return loss - language_weight * outputs["read"].mean() if language_weight > 0 else loss
