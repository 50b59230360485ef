"""The quality of a reply in parts that can be measured: each is a named question with an answer of yes or no."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from agentgym.messages import Message

FEWEST_WORDS, MOST_WORDS = 2, 150
# The same run of so many words twice in one reply is a loop; shorter ones repeat in honest lists of flights or offers.
_REPEATED_WORDS = 12
_PLACEHOLDER = re.compile(
    r"\{\{?\s*[\w.]+\s*\}?\}|\[(?:your |the |customer'?s? |insert |agent )[\w ]+\]|<(?:[a-z]+_[a-z_]+|name|date|amount)>|\blorem ipsum\b"
    r"|\bundefined\b|\bNaN\b|\bNone\b(?=[\s,.]*$)",
    re.IGNORECASE,
)
_MACHINERY = re.compile(r"</?tool_(?:call|response)\b|\"(?:arguments|tool_calls|function)\"\s*:|^\s*[\[{].*[\]}]\s*$", re.DOTALL)
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
# Words of up to three letters hold a sentence together and are about nothing.
_SHORTEST_TOPIC = 4


def reply_quality(reply: str, before: Sequence[Message] = ()) -> dict[str, bool]:
    """What holds of a reply, by name.

    length: between 2 and 150 words.   fresh: neither an earlier reply again nor the same words over and over.
    finished: no placeholder was left open.   spoken: no tool's JSON or markup leaked.
    answers: it takes up a word of what the customer said last or of what a tool has told since, or asks something; where there was
    nothing to answer it does.   copies of the customer's own words answer nothing.
    before: the conversation until then.
    """
    words = _words(reply)
    earlier = [" ".join(_words(message.content)) for message in before if message.role == "assistant" and message.content]
    return {
        "length": FEWEST_WORDS <= len(words) <= MOST_WORDS,
        "fresh": " ".join(words) not in earlier and not _loops(words),
        "finished": _PLACEHOLDER.search(reply) is None,
        "spoken": _MACHINERY.search(reply) is None,
        "answers": _answers(reply, words, before),
    }


def quality_share(parts: Mapping[str, bool]) -> float:
    """Share of the parts that hold, 0–1."""
    return sum(parts.values()) / len(parts)


def mean_quality(messages: Sequence[Message]) -> float:
    """Mean over the agent's replies in a conversation, 0–1; 0 where it never spoke."""
    spoken = [place for place, message in enumerate(messages) if message.role == "assistant" and message.content]
    shares = [quality_share(reply_quality(messages[place].content, messages[:place])) for place in spoken]
    return sum(shares) / len(shares) if shares else 0.0


def _answers(reply: str, words: Sequence[str], before: Sequence[Message]) -> bool:
    asked = next((place for place in range(len(before) - 1, -1, -1) if before[place].role == "user"), None)
    if asked is None:
        return True
    question = _words(before[asked].content)
    if question and list(words) == question:
        return False
    told = [str(message.content if message.result is None else message.result) for message in before[asked + 1 :] if message.role == "tool"]
    topics = {word for text in (before[asked].content, *told) for word in _words(text) if len(word) >= _SHORTEST_TOPIC or word.isdigit()}
    return not topics or bool(topics & set(words)) or reply.rstrip().endswith("?")


def _loops(words: Sequence[str]) -> bool:
    runs = [tuple(words[start : start + _REPEATED_WORDS]) for start in range(len(words) - _REPEATED_WORDS + 1)]
    return len(set(runs)) < len(runs) or any(first == second for first, second in pairwise(words) if len(first) >= _SHORTEST_TOPIC)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
