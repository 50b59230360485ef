"""`reward_fn(response, ground_truth=…)`: what a response is worth beside a good one, without playing anything."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from agentgym.episode import JudgedCall, Outcome
from agentgym.errors import InsufficientData
from agentgym.messages import Message, ToolCall, assistant, token_estimate
from agentgym.reward import BY_EQUAL_WORDS, RewardWeights, SatisfactionWords, Similarity, Spoken, reward_terms, spoken_terms
from agentgym.reward.expressed import FEWEST_CUSTOMERS, reaction
from agentgym.traces.importers.chat import read_message
from agentgym.traces.mining import answered_calls
from agentgym.traces.own_words import EXACT, CallKeys, learn_call_keys
from agentgym.traces.trace import Trace

# A response alone has no clock and no score. What it says counts for as much as half of what it does.
REPLY_REWARD = RewardWeights(
    token_saving=0.0, speed=0.0, satisfaction=0.0, guidelines=5.0, similarity=5.0, quality=5.0, expressed_satisfaction=5.0
)
_FAILED = (Outcome.UNRESOLVED, Outcome.ABANDONED)
_OF_CALLS = ("outcome", "tools")

Said = str | Message | Mapping[str, JsonValue] | Sequence[Message | Mapping[str, JsonValue]]


@dataclass(frozen=True)
class RewardFunction:
    """A reward for a response: the sum of named terms, each bounded by its weight.

    By default from -30 to 30: outcome 10 or -5, tools -20 to 10, guidelines -5 to 0, similarity, quality and expressed_satisfaction 0 to 5.
    Terms that cannot be known are left out and pay nothing. See `RewardWeights` for what each one is.
    """

    weights: RewardWeights = REPLY_REWARD
    similarity: Similarity = BY_EQUAL_WORDS
    keys: CallKeys = EXACT

    @classmethod
    def fit(cls, traces: Sequence[Trace], weights: RewardWeights = REPLY_REWARD) -> "RewardFunction":
        """With the rarity of words, the words of satisfaction and the arguments for an agent's own words as these conversations have them;
        without those of satisfaction on too few."""
        keys = learn_call_keys(traces)
        if weights.encoder is not None:
            similarity = Similarity(encoder=weights.encoder)
        else:
            replies = (message.content for trace in traces for message in trace.messages if message.role == "assistant" and message.content)
            similarity = Similarity.fit(replies)
        if weights.expressed_satisfaction and weights.satisfaction_words is None:
            try:
                weights = weights.model_copy(update={"satisfaction_words": learn_satisfaction_words(traces)})
            except InsufficientData:
                return cls(weights, similarity, keys)
        return cls(weights, similarity, keys)

    def __call__(self, response: Said, *, ground_truth: Said | Trace | None = None) -> float:
        return sum(self.terms(response, ground_truth=ground_truth).values())

    def terms(self, response: Said, *, ground_truth: Said | Trace | None = None) -> dict[str, float]:
        """The reward by term.

        response: words; a message, or one in OpenAI's chat form; or messages, those of the customer and the tools among them.
        ground_truth: a good response in any of these forms, or a whole conversation. One that failed is no example: then, and without any,
        only what the response is by itself is known.
        Words alone are held against the reply they are most like, messages against all of them.
        Calls are judged where both sides are messages: words alone can make none. A call is right when the ground truth makes it too, with
        the same arguments, but for how it puts what is the agent's own to word, and as often as there.
        """
        said, good = _messages(response), _messages(ground_truth)
        replies, recorded = _replies(said), _replies(good)
        if isinstance(response, str) and recorded:
            # One reply answers one turn of a conversation: the one it is most like.
            recorded = [max(recorded, key=lambda reply: self.similarity.between(response, reply))]
        spoken = Spoken(messages=said, replies=replies, recorded=recorded, similarity=self.similarity)
        if isinstance(response, str) or isinstance(ground_truth, str) or not good:
            return spoken_terms(spoken, self.weights, is_success=None)
        calls, missing = _judged(said, good, self.keys)
        return reward_terms(
            calls=calls,
            missing_calls=missing,
            outcome=Outcome.UNRESOLVED if missing else Outcome.RESOLVED,
            satisfaction_score=None,
            agent_tokens=sum(token_estimate(message) for message in said if message.role == "assistant"),
            simulated_seconds=0.0,
            weights=self.weights,
            spoken=spoken,
        )


def learn_satisfaction_words(traces: Iterable[Trace]) -> SatisfactionWords:
    """The lexicon behind `expressed_satisfaction`: from scores where enough conversations have one, else from outcomes.

    Raises InsufficientData when there are too few of both, all are alike, or the words do not tell them apart.
    """
    known = [trace for trace in traces if trace.satisfaction_score is not None or trace.outcome is not None]
    scored = [trace for trace in known if trace.satisfaction_score is not None]
    if len(scored) >= FEWEST_CUSTOMERS:
        levels = [(trace.satisfaction_score - 1) / 4 for trace in scored if trace.satisfaction_score is not None]
        return _learned(scored, levels)
    ended = [trace for trace in known if trace.outcome is not None]
    return _learned(ended, [float(trace.outcome not in _FAILED) for trace in ended])


def _learned(traces: Sequence[Trace], levels: Sequence[float]) -> SatisfactionWords:
    return SatisfactionWords.fit([reaction(trace.messages) for trace in traces], levels, [trace.cluster_id for trace in traces])


def _messages(said: Said | Trace | None) -> tuple[Message, ...]:
    if said is None:
        return ()
    if isinstance(said, Trace):
        return () if said.outcome in _FAILED else said.messages
    if isinstance(said, str):
        return (assistant(said),)
    several = (said,) if isinstance(said, Message | Mapping) else said
    return tuple(message if isinstance(message, Message) else read_message(message) for message in several)


def _replies(messages: Iterable[Message]) -> list[str]:
    return [message.content for message in messages if message.role == "assistant" and message.content]


def _judged(said: Sequence[Message], good: Sequence[Message], keys: CallKeys) -> tuple[list[JudgedCall], list[str]]:
    """Every call of the response, and the names of those of the good one that it did not make; one that failed there need not be made."""
    due = Counter[str]()
    named: dict[str, str] = {}
    worth_a_try = Counter[str]()
    for call, answer in answered_calls(good):
        (worth_a_try if answer is not None and answer.is_error else due)[keys.of(call)] += 1
        named[keys.of(call)] = call.name
    tools = set(named.values())
    judged = [_judge(call, keys.of(call), due, worth_a_try, tools) for message in said for call in message.tool_calls]
    return judged, [named[key] for key in due.elements()]


def _judge(call: ToolCall, key: str, due: Counter[str], worth_a_try: Counter[str], tools: set[str]) -> JudgedCall:
    book = due if due[key] > 0 else worth_a_try
    is_correct = book[key] > 0
    if is_correct:
        book[key] -= 1
    return JudgedCall(call=call, is_correct=is_correct, is_right_tool=call.name in tools)
