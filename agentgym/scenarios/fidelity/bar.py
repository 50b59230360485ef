"""The bar: what an environment must show before anything is trained in it."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field

from agentgym.scenarios.fidelity.figures import Figure
from agentgym.scenarios.fidelity.report import (
    ALL_TOOLS,
    CUSTOMER,
    WHOLE,
    CheckOutcome,
    CustomerFidelity,
    FidelityCheck,
    Part,
    RankFidelity,
    ToolFidelity,
)
from agentgym.statistics import Estimate


class FidelityBar(BaseModel):
    """What is asked; every bar fails only with the whole interval on the wrong side, so that few calls condemn nobody.

    min_calls, min_clusters: fewer calls, or of fewer customers, measure nothing.
    min_gain: how much of the way from a random answer of the same tool (0) to the recorded one (1) an answer must come. On real logs the
        weakest tools, answered by near calls alone, come .45 of the way; answers that were shuffled come 0.
    max_replay_gap: what an answer may lack of the recorded answers to the very same call.
    min_recall: share of the training calls that get one of their recorded answers back; a read after a write may rightly differ.
    max_error_gap: by how much the error rate may differ from the record's, on calls the mock claims to know.
    min_accepted: share of held-out calls that succeeded and that the inferred schema takes: what it refuses, an agent unlearns.
    min_known, max_unknown: of entities known and calls answered by "unknown"; None asks for nothing. Held-out customers are new by
        construction, while in training a case's own recording answers for its own entities.
    min_effect: share of what a write changed in the record that a later read shows.
    min_world_match: of a declared world, the share of recorded fields in its answers: it computes them, so hardly any may differ.
    length_ratios: the customer's turns, simulated ÷ recorded.   min_order, min_told: with the recorded agent; the departing one asks in an
        order of its own, so of it only `min_told` is asked.
    min_answered: of the departing agent's questions; None asks for nothing, as on the record the recorded words stand in for the agent's,
        and what it asks at another point is not heard.
    min_rank_correlation: Kendall's tau-b of reward and outcome; with a yes-or-no outcome it cannot pass about .7.
    min_rank_clusters: a bootstrap of fewer clusters claims too much (Cameron, Gelbach and Miller 2008).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_calls: int = Field(default=10, ge=2)
    min_clusters: int = Field(default=5, ge=2)
    min_gain: float = Field(default=0.1, ge=0, le=1)
    max_replay_gap: float = Field(default=0.1, ge=0, le=1)
    min_recall: float = Field(default=0.8, ge=0, le=1)
    max_error_gap: float = Field(default=0.1, ge=0, le=1)
    min_accepted: float = Field(default=0.9, ge=0, le=1)
    min_known: float | None = Field(default=None, ge=0, le=1)
    max_unknown: float | None = Field(default=None, ge=0, le=1)
    min_effect: float = Field(default=0.5, ge=0, le=1)
    min_world_match: float = Field(default=0.9, ge=0, le=1)
    length_ratios: tuple[float, float] = (0.5, 2.0)
    min_order: float = Field(default=0.5, ge=-1, le=1)
    min_told: float = Field(default=0.5, ge=0, le=1)
    min_answered: float | None = Field(default=None, ge=0, le=1)
    min_rank_correlation: float = Field(default=0.1, ge=-1, le=1)
    min_rank_clusters: int = Field(default=20, ge=5)


def judge_tool(tool: ToolFidelity, bar: FidelityBar) -> Iterator[FidelityCheck]:
    """Every check of one tool, or of all together."""
    asked = _Asked(part="tool", subject=tool.tool, bar=bar)
    if not tool.bases:
        yield asked.at_least(
            "results",
            tool.field_match,
            bar.min_world_match,
            "the world's answers hold {} of the fields of both answers",
            "Declare what the tool returns and changes as the log has it, or play logs of the same version of the world.",
        )
    elif tool.tool != ALL_TOOLS and not tool.training_calls:
        yield asked.unmeasured("results", "no training conversation calls it, so nothing can be answered, and nothing trained with it")
        return
    else:
        yield from _mock_checks(tool, asked, bar)
    yield asked.between(
        "errors",
        tool.error_gap,
        (-bar.max_error_gap, bar.max_error_gap),
        "its error rate less the record's is {}",
        "Bring training conversations in which the tool succeeds and fails as it does in the held-out ones.",
    )
    yield asked.at_least(
        "effects",
        tool.effects,
        bar.min_effect,
        "after it was called, later reads show {} of what changed in the record",
        "The environment forgets what the tool changes: declare a world that holds its state, or mark the tool as a write.",
    )


def _mock_checks(tool: ToolFidelity, asked: "_Asked", bar: FidelityBar) -> Iterator[FidelityCheck]:
    chance = tool.chance.mean or 0.0
    yield asked.at_least(
        "results",
        tool.gain,
        bar.min_gain * (1 - chance),
        f"its answers hold {{}} more of the recorded fields than its answers drawn at random ({chance:.3f})",
        "Look whether its results belong to its calls in the training log, and log more conversations that call it.",
    )
    yield asked.at_least(
        "replays",
        tool.replay_gap,
        -bar.max_replay_gap,
        "on calls that training made as well, its answers hold {} of the recorded fields beyond what the answers recorded there hold",
        "The mock does not give what was recorded: make the scenario from the traces again.",
    )
    yield asked.at_least(
        "recall",
        tool.recall,
        bar.min_recall,
        "it answers {} of its training calls as recorded",
        "The mock does not give what was recorded: make the scenario from the traces again.",
    )
    yield asked.at_least(
        "arguments",
        tool.accepted,
        bar.min_accepted,
        "the schema known from training takes {} of the held-out calls that succeeded",
        "Declare the tool's schema in the traces, or log more of the ways in which it is called.",
    )
    if bar.min_known is not None:
        repair = "Log more conversations about the same entities."
        yield asked.at_least("entities", tool.known, bar.min_known, "training has seen the entities of {} of the calls", repair)
    if bar.max_unknown is not None:
        repair = "Log more conversations about the same entities."
        yield asked.between("unknown", tool.bases["unknown"].share, (0.0, bar.max_unknown), "it knows no answer to {} of the calls", repair)


def judge_customer(customer: CustomerFidelity, bar: FidelityBar) -> Iterator[FidelityCheck]:
    asked = _Asked(part="customer", subject=CUSTOMER, bar=bar)
    to_whom = f"to {'the recorded agent' if customer.agent == 'recorded' else 'an agent that asks in another order'}"
    repair = "Look at how the customers' goals and facts are read from the traces, or log more conversations."
    yield asked.between(
        f"length:{customer.agent}", customer.length_ratio, bar.length_ratios, f"{to_whom} it says {{}} times as much as recorded", repair
    )
    if customer.agent == "recorded":
        yield asked.at_least(
            "order:recorded",
            customer.order,
            bar.min_order,
            f"{to_whom} it tells its facts in an order that agrees with the record's by {{}}",
            repair,
        )
    yield asked.at_least(
        f"facts:{customer.agent}", customer.told, bar.min_told, f"{to_whom} it tells {{}} of the facts that were told", repair
    )
    if bar.min_answered is not None and customer.agent == "departing":
        statement = f"{to_whom} it answers {{}} of the questions at once"
        yield asked.at_least("answers:departing", customer.answered, bar.min_answered, statement, repair)


def judge_ranks(ranks: RankFidelity, bar: FidelityBar) -> Iterator[FidelityCheck]:
    yield _Asked(part="whole", subject=WHOLE, bar=bar.model_copy(update={"min_clusters": bar.min_rank_clusters})).at_least(
        f"reward:{ranks.judgement}",
        ranks.kendall,
        bar.min_rank_correlation,
        f"the reward of recorded agents and their {ranks.judgement} in the log agree in order by {{}}",
        "The reward does not pay what the log calls good: change its weights, or what the cases ask for.",
    )


class _Asked:
    """Makes checks about one subject."""

    def __init__(self, *, part: Part, subject: str, bar: FidelityBar) -> None:
        self._part, self._subject, self._bar = part, subject, bar

    def at_least(self, name: str, figure: Figure, least: float, statement: str, repair: str) -> FidelityCheck:
        return self._check(name, figure, (least, float("inf")), statement, f"at least {least:.3g} is asked", repair)

    def between(self, name: str, figure: Figure, ends: tuple[float, float], statement: str, repair: str) -> FidelityCheck:
        return self._check(name, figure, ends, statement, f"{ends[0]:.3g} to {ends[1]:.3g} is asked", repair)

    def unmeasured(self, name: str, reason: str) -> FidelityCheck:
        return self._made(name, "not_measured", f"{reason}.", "", None)

    def _check(self, name: str, figure: Figure, ends: tuple[float, float], statement: str, asked: str, repair: str) -> FidelityCheck:
        estimate, few = figure.estimate, self._too_few(figure)
        if estimate is None or few:
            said = f" It would be {estimate}." if estimate else ""
            return self._made(name, "not_measured", f"{name} is not measured: {few or figure.reason}{said}", "", estimate)
        # A hair's breadth of rounding is no difference.
        is_reached = ends[0] - 1e-9 <= estimate.mean <= ends[1] + 1e-9
        is_missed = estimate.high < ends[0] - 1e-9 or estimate.low > ends[1] + 1e-9
        outcome: CheckOutcome = "passed" if is_reached else "failed" if is_missed else "not_measured"
        said = f"{statement.format(estimate)}; {asked}."
        open_end = f" The interval reaches it, so {figure.observations} observations do not tell." if outcome == "not_measured" else ""
        return self._made(name, outcome, said + open_end, repair if outcome == "failed" else "", estimate)

    def _too_few(self, figure: Figure) -> str:
        """What is missing to tell; empty where nothing is, and where the figure is undefined for another reason."""
        clusters = figure.estimate.clusters if figure.estimate else self._bar.min_clusters
        if not figure.observations or (figure.observations >= self._bar.min_calls and clusters >= self._bar.min_clusters):
            return ""
        of = f" of {clusters} customers or conversations" if figure.estimate else ""
        return f"only {figure.observations} observations{of}; at least {self._bar.min_calls} of {self._bar.min_clusters} tell."

    def _made(self, name: str, outcome: CheckOutcome, statement: str, repair: str, estimate: Estimate | None) -> FidelityCheck:
        return FidelityCheck(
            name=name,
            part=self._part,
            subject=self._subject,
            outcome=outcome,
            statement=f"{self._subject}: {statement}",
            repair=repair,
            estimate=estimate,
        )


def judge(
    tools: Sequence[ToolFidelity], customers: Sequence[CustomerFidelity], ranks: Sequence[RankFidelity], bar: FidelityBar
) -> tuple[FidelityCheck, ...]:
    """Every check, tools first."""
    return (
        *(check for tool in tools for check in judge_tool(tool, bar)),
        *(check for customer in customers for check in judge_customer(customer, bar)),
        *(check for rank in ranks for check in judge_ranks(rank, bar)),
    )
