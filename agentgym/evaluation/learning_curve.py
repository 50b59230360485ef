"""How reliable a simple learner gets from more conversations: measured on parts of a log, and extrapolated.

The learner is `BagOfWords`: it fits in seconds, and what is trained in earnest has been above it wherever both were measured. It is judged
where it calls as often as the record does, for a threshold moves more than twice as many conversations do; there reliability and precision
are one figure.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import exp, hypot, log, sqrt
from time import process_time

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

from agentgym.errors import InsufficientData
from agentgym.evaluation.floors import BagOfWords
from agentgym.evaluation.next_call import Step, recorded_steps
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

# More of a log would take longer than anybody waits for an estimate.
MOST_CONVERSATIONS = 1_500
MOST_JUDGED = 150
LEAST_TRAINED_ON = 8
LEAST_CLUSTERS = 2 * LEAST_TRAINED_ON
# Each share of the log, and how many times another part of it is learned from: little is learned from a small part twice alike.
SHARES: Mapping[int, int] = {16: 6, 8: 5, 4: 4, 2: 2}
# Of a long log each part costs seconds, and differs less from the next one.
SHARES_OF_MANY: Mapping[int, int] = {16: 4, 8: 3, 4: 2, 2: 1}
MANY_CLUSTERS = 600


class CurvePoint(BaseModel):
    """One fit on a part of a log.

    right: of the turns that called a tool, those where it chose the same; of conversations of other customers.
    by_tool: the same for each recorded tool, as right and due.   seconds: of processor time that fitting took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversations: int = Field(ge=1)
    calls: int = Field(ge=1)
    right: int = Field(ge=0)
    due: int = Field(ge=1)
    by_tool: dict[str, tuple[int, int]]
    seconds: float = Field(ge=0)

    @property
    def reliability(self) -> float:
        """A share in 0–1."""
        return self.right / self.due


class Forecast(BaseModel):
    """The reliability to expect from so many conversations, in 0–1; low, high: where one more training would fall at 90 %."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversations: int
    mean: float
    low: float
    high: float


class LearningCurve(BaseModel):
    """points: small parts of the log first.   calls: turns that call a tool in what was measured on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: tuple[CurvePoint, ...]
    calls: int

    def forecast(self, conversations: int, *, confidence: float = 0.9) -> Forecast:
        """What to expect from so many: the error falls as a power of their number (Cortes et al. 1993, without the asymptote).

        A line through log error over log conversations by least squares, never rising. The interval is Student's for one new training,
        joined with how far the log itself may be from the next one like it: p (1 - p) / calls.
        Beyond some four times what was measured it tells what would be if nothing new stood in the way.
        """
        sizes = np.log([point.conversations for point in self.points])
        # Half a turn at least: no error in a small part does not mean none at all.
        errors = np.log([max(1 - point.reliability, 0.5 / point.due) for point in self.points])
        spread = float(((sizes - sizes.mean()) ** 2).sum())
        slope = min(float(((sizes - sizes.mean()) * errors).sum()) / spread, 0.0)
        at = float(errors.mean()) + slope * (log(conversations) - float(sizes.mean()))
        residuals = errors - errors.mean() - slope * (sizes - sizes.mean())
        freedom = len(self.points) - 2
        deviation = sqrt(float((residuals**2).sum()) / freedom)
        distance = (log(conversations) - float(sizes.mean())) ** 2 / spread
        t = float(stats.t.ppf(0.5 + confidence / 2, freedom))
        fitting = t * deviation * sqrt(1 + 1 / len(self.points) + distance)
        mean = 1 - exp(at)
        drawing = float(stats.norm.ppf(0.5 + confidence / 2)) * sqrt(mean * (1 - mean) / self.calls)
        low, high = (mean - hypot(mean - 1 + exp(at + fitting), drawing), mean + hypot(1 - exp(at - fitting) - mean, drawing))
        return Forecast(conversations=conversations, mean=mean, low=max(0.0, low), high=min(1.0, high))

    @property
    def tool_reliability(self) -> dict[str, tuple[int, int]]:
        """By tool, right and due, over the fits on the largest part."""
        largest = max(point.conversations for point in self.points)
        total: dict[str, tuple[int, int]] = {}
        for point in self.points:
            # Parts of a share differ by a conversation or two where customers have several.
            if point.conversations > 0.75 * largest:
                for name, (right, due) in point.by_tool.items():
                    before = total.get(name, (0, 0))
                    total[name] = (before[0] + right, before[1] + due)
        return total


def measure_curve(traces: Sequence[Trace], *, tools: Sequence[Tool] = (), seed: int = 0) -> LearningCurve:
    """Fits on a sixteenth, an eighth, a quarter and a half of the customers, each judged on some of the other customers.

    traces: at most `MOST_CONVERSATIONS` are used, drawn by `seed`.   tools: in scope where a trace does not say.
    Raises InsufficientData with fewer than sixteen customers, or where too few calls are there to learn from or to judge on.
    """
    rng = np.random.default_rng(seed)
    clusters = _clusters(traces, rng)
    if len(clusters) < LEAST_CLUSTERS:
        raise InsufficientData(
            f"A forecast needs conversations of {LEAST_CLUSTERS} customers at least; got {len(clusters)}. Log more, or log who they are of."
        )
    plan = SHARES if len(clusters) < MANY_CLUSTERS else SHARES_OF_MANY
    points = [point for share, times in plan.items() for point in _points(clusters, share, times, tools)]
    if len(points) < 4 or len({point.conversations for point in points}) < 2:
        raise InsufficientData(
            f"A forecast needs parts of a log that call tools and parts that talk; of {len(traces)} conversations only {len(points)} parts "
            "do. Log more conversations."
        )
    calls = sum(bool(message.tool_calls) for cluster in clusters for trace in cluster for message in trace.messages)
    return LearningCurve(points=tuple(sorted(points, key=lambda point: point.conversations)), calls=calls)


def _clusters(traces: Sequence[Trace], rng: np.random.Generator) -> list[list[Trace]]:
    """The conversations of each customer, in an order of `rng`, no more of them than `MOST_CONVERSATIONS` in all."""
    by_cluster: dict[str, list[Trace]] = {}
    for trace in traces:
        by_cluster.setdefault(trace.cluster_id, []).append(trace)
    names, drawn, count = list(by_cluster), list[list[Trace]](), 0
    for at in rng.permutation(len(names)):
        if count >= MOST_CONVERSATIONS:
            break
        drawn.append(by_cluster[names[at]])
        count += len(drawn[-1])
    return drawn


def _points(clusters: list[list[Trace]], share: int, times: int, tools: Sequence[Tool]) -> Iterator[CurvePoint]:
    """Fits on `times` parts, each 1 / `share` of the customers, judged on those that follow it; none on parts too small."""
    size = len(clusters) // share
    for number in range(times if size >= LEAST_TRAINED_ON else 0):
        start = number * len(clusters) // times
        turned = clusters[start:] + clusters[:start]
        train = [trace for cluster in turned[:size] for trace in cluster]
        judged = [trace for cluster in turned[size:] for trace in cluster][:MOST_JUDGED]
        point = _point(train, judged, tools)
        if point is not None:
            yield point


def _point(train: Sequence[Trace], judged: Sequence[Trace], tools: Sequence[Tool]) -> CurvePoint | None:
    """One fit; None where there is nothing to learn from, or nothing to judge on."""
    steps = [step for trace in judged for step in recorded_steps(trace, tools) if step.conversation.tools]
    due = [step for step in steps if step.recorded]
    began = process_time()
    try:
        learned = BagOfWords.fit(train, tools=tools)
    except InsufficientData:
        return None
    seconds = process_time() - began
    if not due:
        return None
    right, by_tool = _judge(learned, steps)
    calls = sum(len(message.tool_calls) for trace in train for message in trace.messages)
    return CurvePoint(conversations=len(train), calls=calls, right=right, due=len(due), by_tool=by_tool, seconds=seconds)


def _judge(learned: BagOfWords, steps: Sequence[Step]) -> tuple[int, dict[str, tuple[int, int]]]:
    """Of the turns that call: how many it gets right where it calls in as many turns, the likeliest ones; in all, and by recorded tool."""
    chances = learned.chances([step.conversation for step in steps])
    count = sum(bool(step.recorded) for step in steps)
    called = np.argsort([-float(chance.max()) for chance in chances], kind="stable")[:count]
    right, by_tool = 0, dict[str, tuple[int, int]]()
    for step in steps:
        for call in step.recorded[:1]:
            before = by_tool.get(call.name, (0, 0))
            by_tool[call.name] = (before[0], before[1] + 1)
    for at in map(int, called):
        step = steps[at]
        name = step.conversation.tools[int(np.argmax(chances[at]))].name
        if any(call.name == name for call in step.recorded):
            right += 1
            first = step.recorded[0].name
            by_tool[first] = (by_tool[first][0] + 1, by_tool[first][1])
    return right, by_tool
