"""How alike both sides of a split are: what share of each is of one outcome, or of one kind of request.

The split does not aim at it, because a customer's side follows from a name alone (docs/decisions/0007 has the reasons). So it is counted
and shown.
"""

from collections import Counter

from pydantic import BaseModel, ConfigDict

from agentgym.traces.trace import Trace

OUTCOME, UNKNOWN = "outcome", "unknown"
CLASS_TAGS = ("request", "queue", "kind")
# A tag with more values than these is no class but a note.
MOST_VALUES = 20


class ClassCount(BaseModel):
    """Conversations of one class on each side.   feature: the outcome, or the tag whose `value` it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature: str
    value: str
    train: int
    held_out: int


class SplitBalance(BaseModel):
    """Conversations on each side, and of each class of them, the commonest class of a feature first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int
    held_out: int
    classes: tuple[ClassCount, ...]

    def train_share(self, counted: ClassCount) -> float:
        """Of the conversations to learn from, in 0–1."""
        return counted.train / self.train

    def held_out_share(self, counted: ClassCount) -> float:
        """Of the conversations to judge on, in 0–1."""
        return counted.held_out / self.held_out

    @property
    def one_sided(self) -> tuple[ClassCount, ...]:
        """Classes that are on one side only: learned and never judged, or judged and never learned."""
        return tuple(counted for counted in self.classes if not counted.train or not counted.held_out)


class ClassCensus:
    """Counts classes by cluster while conversations go by, until it is known which clusters are held out."""

    def __init__(self) -> None:
        self._clusters: Counter[str] = Counter()
        self._classes: Counter[tuple[str, str, str]] = Counter()

    def observe(self, trace: Trace) -> None:
        self._clusters[trace.cluster_id] += 1
        self._classes[OUTCOME, trace.outcome or UNKNOWN, trace.cluster_id] += 1
        self._classes.update((tag, trace.tags[tag], trace.cluster_id) for tag in CLASS_TAGS if tag in trace.tags)

    def balance(self, held_out_clusters: frozenset[str]) -> SplitBalance:
        sides: tuple[Counter[tuple[str, str]], ...] = (Counter(), Counter())
        for (feature, value, cluster), count in self._classes.items():
            sides[cluster in held_out_clusters][feature, value] += count
        held_out = sum(count for cluster, count in self._clusters.items() if cluster in held_out_clusters)
        return SplitBalance(train=self._clusters.total() - held_out, held_out=held_out, classes=_counts(*sides))


def _counts(train: Counter[tuple[str, str]], held_out: Counter[tuple[str, str]]) -> tuple[ClassCount, ...]:
    both = train + held_out
    values = Counter(feature for feature, _ in both)
    order = [OUTCOME, *CLASS_TAGS]
    ranked = sorted(both, key=lambda named: (order.index(named[0]), -both[named], named[1]))
    return tuple(
        ClassCount(feature=feature, value=value, train=train[feature, value], held_out=held_out[feature, value])
        for feature, value in ranked
        if values[feature] <= MOST_VALUES
    )
