"""The readiness of a log on disk: all of it is read, and of a long one some conversations are looked at."""

from collections.abc import Callable, Iterable, Iterator

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.traces.importers import Record, RejectedLine, read_records
from agentgym.traces.mining import mine_tools
from agentgym.traces.source import TraceSource
from agentgym.training.readiness import Readiness, assess_readiness

# Counts hardly change with more, and each is validated before it is counted.
MOST_LOOKED_AT = 5_000


def readiness_of(source: TraceSource, *, target: float, is_forgotten: Callable[[str], bool] = lambda _: False) -> Readiness:
    """Raises InvalidInput when the log cannot be read or is empty, InsufficientData when nothing in it can be used."""
    # Imports Great Expectations.
    from agentgym.traces.validation import Validation, drawn

    counted = _Counted(read_records(source.path, source.format, mapping=source.mapping))
    validation = Validation(is_forgotten=is_forgotten)
    traces = tuple(validation.accepted(drawn(counted, source.limit or MOST_LOOKED_AT)))
    if not counted.count:
        raise InvalidInput(f"A log needs at least one conversation; {str(source.path)!r} is empty. Check that the export ran.")
    report = validation.report()
    if not traces:
        raise InsufficientData(
            f"A log is judged by the conversations that can be used; of {report.quarantined} in {str(source.path)!r} none can. "
            "Mend what `agentgym traces validate` tells of them."
        )
    return assess_readiness(
        traces, tools=mine_tools(traces), conversations=counted.count - report.forgotten, quarantined=report.quarantined, target=target
    )


class _Counted:
    """Records as they go by, counted."""

    def __init__(self, records: Iterable[Record | RejectedLine]) -> None:
        self._records, self.count = records, 0

    def __iter__(self) -> Iterator[Record | RejectedLine]:
        for record in self._records:
            self.count += 1
            yield record
