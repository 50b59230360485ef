"""What one answer of an agent is worth beside the right one: the calls as in any reward, and how alike the words are."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline, make_pipeline

from agentgym.episode import JudgedCall, Outcome
from agentgym.messages import Message, ToolCall
from agentgym.reward import RewardWeights, reward_terms
from agentgym.traces.matching import call_key


class ReplyReward:
    """Terms of one answer: `tools`, and `words` where the right answer has any.

    words: TF-IDF cosine with the right words, in 0–1, times what satisfaction is worth.   corpus: whose rare words count for more.
    What the answer brought about is not seen here, so outcome, savings and satisfaction are no terms of it.
    """

    def __init__(self, corpus: Sequence[str], *, weights: RewardWeights | None = None) -> None:
        self._weights = weights or RewardWeights()
        # By hash, so that a word the corpus never had counts too, as the rarest.
        counts = HashingVectorizer(n_features=2**18, alternate_sign=False, norm=None, token_pattern=r"(?u)\b\w+\b")
        self._vectors: Pipeline = make_pipeline(counts, TfidfTransformer(sublinear_tf=True)).fit([*corpus, "a"])

    def terms(self, given: Message, right: Message) -> Mapping[str, float]:
        """By name; their sum is the reward."""
        terms = {"tools": self._tools(given.tool_calls, right.tool_calls)}
        if right.content:
            terms["words"] = self._weights.satisfaction * self._likeness(given.content, right.content)
        return terms

    def _tools(self, given: Sequence[ToolCall], right: Sequence[ToolCall]) -> float:
        left, judged = Counter(map(call_key, right)), list[JudgedCall]()
        for call in given:
            is_correct = left[call_key(call)] > 0
            left[call_key(call)] -= is_correct
            judged.append(JudgedCall(call=call, is_correct=is_correct, is_right_tool=any(call.name == due.name for due in right)))
        missing = list(left.elements())
        told = reward_terms(
            calls=judged,
            missing_calls=missing,
            outcome=Outcome.UNRESOLVED,
            satisfaction_score=None,
            agent_tokens=0,
            simulated_seconds=0.0,
            weights=self._weights,
        )
        return told["tools"]

    def _likeness(self, given: str, right: str) -> float:
        if given.split() == right.split():
            return 1.0
        one, other = self._vectors.transform([given]), self._vectors.transform([right])
        return float((one @ other.T).toarray()[0, 0])
