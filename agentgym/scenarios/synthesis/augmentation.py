"""More conversations to learn from, made of those there are: about others, worded otherwise, in another order, and less carefully typed.

A copy is kept only when every value of every call can be known from what is said before it as it could in the original, when its calls
fit their schemas as before, and when it does not nearly repeat another one.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agentgym.errors import InsufficientData
from agentgym.messages import Message
from agentgym.scenarios.synthesis.diversity import Distinct
from agentgym.scenarios.synthesis.entities import rename_entities
from agentgym.scenarios.synthesis.wording import Keeps, noisy, paraphrased, reordered
from agentgym.scenarios.value_sources import leaves, lost_values, meanings_of, plain, value_sources
from agentgym.traces.snapshot import SplitConfig, held_out_part
from agentgym.traces.trace import Trace

_UNKNOWN_DAY = datetime(2000, 1, 1, tzinfo=UTC)
# A copy that is not kept is drawn again: short conversations without names often come out nearly as they were.
_DRAWS = 4


class AugmentationConfig(BaseModel):
    """copies: of each conversation, on average; 0.5 makes one of every second.   entities, order: whether they change.

    paraphrase: the share of rules that fit a message that is applied to it.   noise: the share of words that are mistyped, and of messages
    in small letters, without a full stop, or with a filler.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    copies: float = Field(default=1.0, gt=0, le=20)
    entities: bool = True
    order: bool = True
    paraphrase: float = Field(default=0.5, ge=0, le=1)
    noise: float = Field(default=0.05, ge=0, le=1)
    seed: int = Field(default=0, ge=0)


class Augmented(BaseModel):
    """copies: of conversations of the training part.   dropped: copies that were not kept, by reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    copies: tuple[Trace, ...]
    trained_on: int
    held_out: int
    dropped: dict[str, int]


def augment_training_part(traces: Sequence[Trace], config: AugmentationConfig, *, split: SplitConfig | None = None) -> Augmented:
    """Copies of the conversations that are trained on when the log is split as `split` says; those to judge on stay as they are.

    A copy is of the same customer, so that it is on the same side. Equal logs and settings give equal copies.
    Raises InsufficientData as the split does.
    """
    held_out = held_out_part((trace.cluster_id for trace in traces), split or SplitConfig())
    train = [trace for trace in traces if trace.cluster_id not in held_out]
    distinct, dropped, copies = Distinct(traces), Counter[str](), []
    for trace in train:
        for number in range(1, _copies_of(trace, config) + 1):
            for draw in range(_DRAWS):
                copy = augmented(trace, config, number=number, draw=draw)
                reason = why_not(trace, copy) or ("It nearly repeats another conversation." if not distinct.add(copy) else "")
                if not reason:
                    copies.append(copy)
                    break
            else:
                dropped[reason] += 1
    return Augmented(copies=tuple(copies), trained_on=len(train), held_out=len(traces) - len(train), dropped=dict(dropped))


def augmented(trace: Trace, config: AugmentationConfig, *, number: int = 1, draw: int = 0) -> Trace:
    """One copy, told from others by its number.   draw: which of several attempts at it."""
    rng = np.random.default_rng([config.seed, number, draw, _number(trace.conversation_id)])
    renamed = rename_entities(trace, rng) if config.entities else trace
    values = {plain(str(value)) for message in renamed.messages for call in message.tool_calls for _, value in leaves(call.arguments)}
    keeps = _keeps(values - {""}, renamed)
    messages = tuple(_said(message, config, rng, keeps) if message.role == "user" else message for message in renamed.messages)
    identity = {"conversation_id": f"{trace.conversation_id}~copy{number}", "customer_id": trace.cluster_id}
    return renamed.model_copy(update={"messages": messages, **identity})


def why_not(trace: Trace, copy: Trace) -> str:
    """What is wrong with a copy; empty when nothing is."""
    for (call, before), (copied, after) in zip(value_sources(trace), value_sources(copy), strict=True):
        if lost_values(before, after):
            return "A value of a call can no longer be known from what was said."
        tool = next((tool for tool in trace.tools if tool.name == call.name), None)
        if tool and tool.violations(copied.arguments) and not tool.violations(call.arguments):
            return "A call no longer fits its schema."
    return ""


def require_copies(augmented: Augmented) -> Augmented:
    """Raises InsufficientData when nothing came of it."""
    if not augmented.copies:
        reasons = "; ".join(f"{count} × {reason}" for reason, count in augmented.dropped.items()) or "none was asked for"
        raise InsufficientData(
            f"Augmentation needs conversations it can say otherwise; of {augmented.trained_on} to train on no copy was kept: {reasons} "
            "Ask for more copies, or bring more conversations."
        )
    return augmented


def _said(message: Message, config: AugmentationConfig, rng: np.random.Generator, keeps: Keeps) -> Message:
    words = reordered(message.content, rng, keeps=keeps) if config.order else message.content
    words = paraphrased(words, rng, keeps=keeps, rate=config.paraphrase)
    return message.model_copy(update={"content": noisy(words, rng, keeps=keeps, rate=config.noise)})


def _keeps(values: set[str], trace: Trace) -> Callable[[str, str], bool]:
    """Whether words still hold, and still mean, each of the values they held before."""
    today = (trace.started_at or _UNKNOWN_DAY).date()

    def known(words: str) -> set[str]:
        text = f" {plain(words)} "
        return {value for value in values if f" {value} " in text} | (meanings_of(words, today) & values)

    return lambda before, after: known(before) <= known(after)


def _copies_of(trace: Trace, config: AugmentationConfig) -> int:
    """Whole copies, and one more in as many conversations as the rest says; which ones follows from their names."""
    whole, rest = divmod(config.copies, 1)
    lot = _number(f"{config.seed}/{trace.conversation_id}") / 2**32
    return int(whole) + (lot < rest)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
