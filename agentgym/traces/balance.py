"""How alike both sides of a split are: what share of each is of one outcome, or of one kind of request.

The split does not aim at it, because a customer's side follows from a name alone (docs/decisions/0007 has the reasons). So it is counted
and shown.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from agentgym.traces.importers.gathering import temporary_database, with_room
from agentgym.traces.trace import Trace

OUTCOME, UNKNOWN = "outcome", "unknown"
CLASS_TAGS = ("request", "queue", "kind")
# A tag with more values than these is no class but a note.
MOST_VALUES = 20
_WAITING_CLASSES = 10_000


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
    """Counts classes by cluster while conversations go by, until it is known which clusters are held out; in a temporary file."""

    def __init__(self) -> None:
        self._waiting: Counter[tuple[str, str, str]] = Counter()
        self._database = temporary_database()
        columns = "cluster TEXT, feature TEXT, value TEXT, count INTEGER"
        self._database.execute(f"CREATE TABLE class ({columns}, PRIMARY KEY (cluster, feature, value)) WITHOUT ROWID")

    def __del__(self) -> None:
        self._database.close()

    def observe(self, trace: Trace) -> None:
        self.count(trace.cluster_id, trace.outcome, trace.tags)

    def count(self, cluster: str, outcome: str | None, tags: Mapping[str, str]) -> None:
        """Raises Unavailable when temporary files have no room."""
        self._waiting[cluster, OUTCOME, outcome or UNKNOWN] += 1
        self._waiting.update((cluster, tag, tags[tag]) for tag in CLASS_TAGS if tag in tags)
        if len(self._waiting) >= _WAITING_CLASSES:
            self._write()

    def clusters(self) -> Iterator[str]:
        """Each once, in alphabetical order."""
        self._write()
        return (cluster for (cluster,) in self._database.execute("SELECT DISTINCT cluster FROM class ORDER BY cluster"))

    def knows(self, cluster: str) -> bool:
        self._write()
        return self._database.execute("SELECT 1 FROM class WHERE cluster = ?", (cluster,)).fetchone() is not None

    def balance(self, held_out_clusters: frozenset[str]) -> SplitBalance:
        self._write()
        sides: tuple[Counter[tuple[str, str]], ...] = (Counter(), Counter())
        for cluster, feature, value, count in self._database.execute("SELECT cluster, feature, value, count FROM class"):
            sides[cluster in held_out_clusters][feature, value] += count
        # Each conversation has one outcome, known or not.
        train, held_out = (sum(count for (feature, _), count in side.items() if feature == OUTCOME) for side in sides)
        return SplitBalance(train=train, held_out=held_out, classes=_counts(*sides))

    def _write(self) -> None:
        with with_room():
            self._database.executemany(
                "INSERT INTO class VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                [(*key, count) for key, count in self._waiting.items()],
            )
        self._waiting.clear()


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
