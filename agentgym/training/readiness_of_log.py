"""The readiness of a log on disk: all of it is read, and of a long one some conversations are looked at."""

from collections.abc import Callable

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.traces.mining import mine_tools
from agentgym.traces.source import TraceSource
from agentgym.training.readiness import Readiness, assess_readiness

# Counts hardly change with more, and each is validated before it is counted.
MOST_LOOKED_AT = 5_000


def readiness_of(source: TraceSource, *, target: float, is_forgotten: Callable[[str], bool] = lambda _: False) -> Readiness:
    """Raises InvalidInput when the log cannot be read or is empty, InsufficientData when nothing in it can be used."""
    # Imports Great Expectations.
    from agentgym.traces.validation import Validation

    limit = source.limit or MOST_LOOKED_AT
    validation = Validation(source.path, source.format, mapping=source.mapping, limit=limit, is_forgotten=is_forgotten)
    traces = tuple(trace for accepted in validation.accepted() for trace in accepted.traces())
    if not validation.conversations_in_log:
        raise InvalidInput(f"A log needs at least one conversation; {str(source.path)!r} is empty. Check that the export ran.")
    report = validation.report()
    if not traces:
        raise InsufficientData(
            f"A log is judged by the conversations that can be used; of {report.quarantined} in {str(source.path)!r} none can. "
            "Mend what `agentgym traces validate` tells of them."
        )
    remaining = validation.conversations_in_log - report.forgotten
    return assess_readiness(traces, tools=mine_tools(traces), conversations=remaining, quarantined=report.quarantined, target=target)
