"""Whether an environment pays good agents more than bad ones: recorded agents, played again, in the order of what the log says of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.episode import Outcome, Trajectory
from agentgym.rank_correlation import MOST_ROWS, Method, rank_correlation
from agentgym.scenarios.fidelity.figures import Figure, measured, unmeasured
from agentgym.scenarios.fidelity.report import Judgement, RankFidelity
from agentgym.scenarios.from_traces import RecordedScenario
from agentgym.scenarios.pack import ScenarioPack
from agentgym.traces.trace import Trace

# Two conversations of one customer are about the same when they have at least this share of their words in common. In tau-bench, where
# trials say what is the same, 95 % of the pairs inside a task lie above, and 95 % of those of different tasks below.
SAME_SITUATION = 0.3
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class PaidAgent:
    """What the environment pays a recorded agent."""

    trace: Trace
    reward: float


def replay(environment: ConversationEnv, case: Case, agent: Trace, *, seed: int) -> Trajectory:
    """The messages of a recorded agent, one after the other, whatever the environment answers."""
    environment.reset(seed=seed, options={"case": case})
    for message in agent.messages:
        if message.role == "assistant":
            _, _, is_terminated, is_truncated, _ = environment.step(message)
            if is_terminated or is_truncated:
                break
    return environment.trajectory(())


def environment_for_others(pack: ScenarioPack) -> ConversationEnv:
    """The pack's environment for agents whom its records do not know: its customers go on from their goals, as no agent keeps to a record
    that is not its own."""
    return RecordedScenario(pack, customer="goal").create_environment(follows_record=False)


def paid_in_other_records(environment: ConversationEnv, cases: Sequence[tuple[Trace, Case]], *, seed: int) -> Iterator[PaidAgent]:
    """Each agent in the records of other conversations about the same situation that went well; the mean of what it is paid there.

    In its own record every agent does what the record does, and the outcome is the record's: it would be paid by its own mark.
    Agents whose situation was recorded only once are left out.
    """
    for trace, _ in cases:
        others = [case for other, case in cases if other is not trace and _is_model(other) and are_about_the_same(trace, other)]
        if others:
            rewards = [replay(environment, case, trace, seed=seed).reward for case in others]
            yield PaidAgent(trace=trace, reward=sum(rewards) / len(rewards))


def are_about_the_same(trace: Trace, other: Trace) -> bool:
    """Whether one customer wants the same in both: their words are alike (Jaccard)."""
    if trace.cluster_id != other.cluster_id:
        return False
    left, right = customer_words(trace), customer_words(other)
    return len(left & right) >= SAME_SITUATION * len(left | right)


def rank_fidelity(judgement: Judgement, paid: Sequence[PaidAgent], *, missing: str, seed: int = 0) -> RankFidelity:
    """The order in which agents are paid against that of their outcomes (went well or not), or of their customers' scores.

    missing: why nobody was paid, where nobody was.
    """
    judged = [(agent, score) for agent in paid[:MOST_ROWS] if (score := _score(agent.trace, judgement)) is not None]
    rewards, scores = [agent.reward for agent, _ in judged], [score for _, score in judged]
    clusters = [agent.trace.cluster_id for agent, _ in judged]
    reason = f"The log knows no {judgement} of the conversations that were played." if paid else missing

    def correlation(method: Method, *, is_within: bool = False) -> Figure:
        if not judged:
            return unmeasured(reason)
        return measured(lambda: rank_correlation(rewards, scores, clusters, method=method, is_within=is_within, seed=seed), len(judged))

    return RankFidelity(
        judgement=judgement,
        kendall=correlation("kendall"),
        spearman=correlation("spearman"),
        within=correlation("kendall", is_within=True),
        reward_of_good=_mean_where(judged, judgement, 1.0),
        reward_of_bad=_mean_where(judged, judgement, 0.0),
    )


def _score(trace: Trace, judgement: Judgement) -> float | None:
    """How good a conversation was by the log: 1 where the customer got what they wanted and 0 where not, or the customer's score."""
    if judgement == "satisfaction":
        return trace.satisfaction_score
    return None if trace.outcome is None else float(trace.outcome in (Outcome.RESOLVED, Outcome.ESCALATED))


def _mean_where(judged: Sequence[tuple[PaidAgent, float]], judgement: Judgement, score: float) -> float | None:
    rewards = [agent.reward for agent, its_score in judged if judgement == "outcome" and its_score == score]
    return sum(rewards) / len(rewards) if rewards else None


def _is_model(trace: Trace) -> bool:
    """Whether what was done there is what should be done."""
    return trace.outcome not in (Outcome.UNRESOLVED, Outcome.ABANDONED)


def customer_words(trace: Trace) -> frozenset[str]:
    """All words the customer says, without regard to case."""
    return frozenset(_WORD.findall(" ".join(message.content for message in trace.messages if message.role == "user").casefold()))
