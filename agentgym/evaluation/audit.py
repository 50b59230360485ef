"""Adversaries play for the reward before anything is trained by it. A reward that pays one of them is refused, with what paid it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.environments.play import play_episode
from agentgym.episode import Policy, Trajectory
from agentgym.errors import InsufficientData, Refused
from agentgym.evaluation.adversaries import make_adversaries
from agentgym.evaluation.evaluate import Progress, case_set_digest, episode_seed
from agentgym.evaluation.play_floors import play_floors
from agentgym.reward import RewardWeights
from agentgym.scenarios.scenario import Scenario
from agentgym.statistics import Estimate, Vector, mean_estimate, paired_difference
from agentgym.verdicts import Check, CheckOutcome, PaidPlayer, RewardAudit

_REPAIRS = {
    "outcome": "count a case as solved only where its tools were left as the right solution leaves them, and pay that more than a failure",
    "tools": "let a wrong call cost at least what a right one pays, and average over the calls so that many are not paid more than one",
    "satisfaction": "read satisfaction from what the customer got or said, never from the agent's own words",
}


class AuditCriteria(BaseModel):
    """cases: to play at most, by every player.   margin_share: of what honest work is paid above the floor, which an adversary may come
    to have by accident.   confidence: that no reward is refused by chance, over all adversaries together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: int = Field(default=80, ge=2, le=100_000)
    margin_share: float = Field(default=0.1, ge=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class _Played:
    """What one player did, case by case in the order of the audit's cases."""

    trajectories: Sequence[Trajectory]

    @property
    def rewards(self) -> list[float]:
        return [trajectory.reward for trajectory in self.trajectories]

    @property
    def terms(self) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for trajectory in self.trajectories:
            for name, points in trajectory.reward_terms.items():
                sums[name] += points
        return {name: points / len(self.trajectories) for name, points in sums.items()}


def audit_reward(
    scenario: Scenario,
    cases: Sequence[Case],
    *,
    reward: RewardWeights | None = None,
    seed: int,
    criteria: AuditCriteria = AuditCriteria(),  # noqa: B008 - frozen
    on_progress: Progress | None = None,
) -> RewardAudit:
    """Whether adversaries are paid by the scenario's reward, or by other weights in its place.

    Each plays the same cases, drawn from `cases` by the seed. An adversary must stay below two marks, with the whole interval of the
    difference: the floor plus a share of what honest work is paid above it, and honest work itself. The floor is the best of the players
    without skill. Honest work must be above the floor. Where the scenario knows no honest agent, the floor is the only mark.
    """
    drawn = _draw(cases, criteria.cases, seed)
    clusters = [case.cluster_id for case in drawn]
    if len(set(clusters)) < 2:
        return _unplayed(scenario, drawn, seed, criteria)
    floors, adversaries, honest = play_floors(cases), make_adversaries(cases), scenario.honest_agent()
    players: dict[str, Policy] = {**floors, **adversaries, **({"honest": honest} if honest else {})}
    environment = scenario.create_environment(reward=reward)
    played: dict[str, _Played] = {}
    for number, (name, player) in enumerate(players.items(), start=1):
        played[name] = _play(environment, player, drawn, seed)
        if on_progress:
            on_progress(number, len(players))
    floor = max(floors, key=lambda name: float(np.mean(played[name].rewards)))
    comparison = _Comparison(played, floor, clusters, criteria, count=len(adversaries))
    return RewardAudit(
        scenario=scenario.name,
        case_set_digest=case_set_digest(drawn),
        cases=len(drawn),
        seed=seed,
        players={name: _paid(name, played[name], clusters, floors, adversaries) for name in played},
        floor=floor,
        checks=(*comparison.of_honest_work(), *map(comparison.of_adversary, adversaries)),
        criteria=criteria.model_dump(),
    )


def require_sound_reward(audit: RewardAudit, *, waiver: str | None) -> None:
    """Raises Refused when the audit refuses the reward, unless somebody took that on themselves: `waiver` is their reason.

    Inconclusive is no refusal: with few cases nothing could be shown, and the gate still stands between training and customers.
    """
    if audit.verdict != "refuse" or waiver is not None:
        return
    failed = [check for check in audit.checks if check.outcome == "failed"]
    named = [check.name for check in failed if check.name in audit.players and audit.players[check.name].role == "adversary"]
    paid = ", ".join(named) or "nobody honest enough"
    told = max(failed, key=lambda check: check.difference.mean if check.name in named and check.difference else -np.inf)
    raise Refused(
        f"Nothing is trained by a reward that pays a shortcut; this one pays {paid}. {told.statement} "
        "Mend the reward, or set waive_audit to the reason why it may train all the same."
    )


@dataclass(frozen=True)
class _Comparison:
    """Every adversary against the floor and against honest work."""

    played: Mapping[str, _Played]
    floor: str
    clusters: Sequence[str]
    criteria: AuditCriteria
    count: int

    def of_honest_work(self) -> list[Check]:
        """That it pays at all; nothing where nobody knows what it is."""
        if "honest" not in self.played:
            return []
        gain = self._difference(np.array(self._rewards(self.floor)), self._rewards("honest"))
        outcome: CheckOutcome = "passed" if gain.low > 0 else "failed" if gain.high < 0 else "inconclusive"
        statement = (
            f"honest work is paid {self._mean('honest'):.2f} a case, the floor ({self.floor}) {self._mean(self.floor):.2f}: "
            f"a difference of {gain}; more than 0 is needed, with the whole interval."
        )
        if outcome == "failed":
            statement += f" {self._repair(self.floor, 'honest')}"
        return [Check(name="honest", outcome=outcome, statement=statement, difference=gain)]

    def of_adversary(self, name: str) -> Check:
        floor = np.array(self._rewards(self.floor))
        honest = np.array(self._rewards("honest")) if "honest" in self.played else None
        share = self.criteria.margin_share
        above_floor = self._difference(floor if honest is None else (1 - share) * floor + share * honest, self._rewards(name))
        above_honest = above_floor if honest is None else self._difference(honest, self._rewards(name))
        is_paid = above_floor.low > 0 or above_honest.low > 0
        is_unpaid = above_floor.high <= 0 and above_honest.high <= 0
        outcome: CheckOutcome = "failed" if is_paid else "passed" if is_unpaid else "inconclusive"
        # What is told is the mark it comes closest to, or is furthest above.
        mark, difference = max((("floor", above_floor), ("honest work", above_honest)), key=lambda told: told[1].low)
        return Check(name=name, outcome=outcome, statement=self._statement(name, mark, difference, outcome), difference=difference)

    def _statement(self, name: str, mark: str, difference: Estimate, outcome: CheckOutcome) -> str:
        against = f"the floor ({self.floor}) {self._mean(self.floor):.2f}"
        if "honest" in self.played:
            against += f", honest work {self._mean('honest'):.2f}"
        most = "honest work" if mark == "honest work" else f"the floor and {self.criteria.margin_share:.0%} of the way to honest work"
        if "honest" not in self.played:
            most = "the floor"
        told = f"{name} is paid {self._mean(name):.2f} a case, {against}; against {most} a difference of {difference}"
        if outcome == "failed":
            return f"{told}. {self._repair(name, self.floor if mark == 'floor' else 'honest')}"
        return f"{told}." if outcome == "passed" else f"{told}, which is neither above nor below. Play more cases."

    def _repair(self, name: str, other: str) -> str:
        """What paid the one more than the other, and what to change."""
        mine, theirs = self.played[name].terms, self.played[other].terms
        gains = {term: mine.get(term, 0.0) - theirs.get(term, 0.0) for term in {**mine, **theirs}}
        term = max(gains, key=lambda each: gains[each])
        repair = _REPAIRS.get(term, "lower its weight, or pay it only where the customer got what they came for")
        return f"{term!r} paid {name} {gains[term]:.2f} more than {other}: {repair}."

    def _difference(self, mark: Vector, rewards: Sequence[float]) -> Estimate:
        # Each adversary is another chance to be refused by accident (Bonferroni).
        confidence = 1 - (1 - self.criteria.confidence) / self.count
        return paired_difference(mark, rewards, self.clusters, confidence=confidence)

    def _rewards(self, name: str) -> list[float]:
        return self.played[name].rewards

    def _mean(self, name: str) -> float:
        return float(np.mean(self._rewards(name)))


def _draw(cases: Sequence[Case], most: int, seed: int) -> list[Case]:
    """As many different cases as asked for, or all there are, in their order."""
    unique = list({case.case_id: case for case in cases}.values())
    places = np.random.default_rng([seed, len(unique)]).permutation(len(unique))[:most]
    return [unique[place] for place in sorted(places)]


def _play(environment: ConversationEnv, player: Policy, cases: Sequence[Case], seed: int) -> _Played:
    return _Played(trajectories=[play_episode(environment, player, case, seed=episode_seed(seed, 0, case)) for case in cases])


def _paid(
    name: str, played: _Played, clusters: Sequence[str], floors: Mapping[str, Policy], adversaries: Mapping[str, Policy]
) -> PaidPlayer:
    return PaidPlayer(
        role="floor" if name in floors else "adversary" if name in adversaries else "honest",
        reward=mean_estimate(played.rewards, clusters),
        terms=played.terms,
    )


def _unplayed(scenario: Scenario, cases: Sequence[Case], seed: int, criteria: AuditCriteria) -> RewardAudit:
    if not cases:
        raise InsufficientData(f"A reward is audited on cases to train on; {scenario.name!r} has none. Bring conversations.")
    statement = f"An interval needs cases of at least 2 customers; the {len(cases)} there are have one. Nothing was played."
    return RewardAudit(
        scenario=scenario.name,
        case_set_digest=case_set_digest(cases),
        cases=len(cases),
        seed=seed,
        players={},
        floor=None,
        checks=(Check(name="customers", outcome="inconclusive", statement=statement),),
        criteria=criteria.model_dump(),
    )
