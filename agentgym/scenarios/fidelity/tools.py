"""From rows of calls to what is known of each tool."""

from collections.abc import Callable, Sequence

from agentgym.scenarios.fidelity.answering import BASES
from agentgym.scenarios.fidelity.figures import Figure, mean, share
from agentgym.scenarios.fidelity.put_calls import PutCall, PutCalls
from agentgym.scenarios.fidelity.report import ALL_TOOLS, BasisFidelity, ToolFidelity


def tool_fidelities(put: PutCalls) -> tuple[ToolFidelity, ...]:
    """Of every tool that a held-out conversation calls or that writes, by name."""
    names = {row.tool for row in put.rows} | {effect.writer for effect in put.effects}
    return tuple(_fidelity(name, put, lambda tool, name=name: tool == name) for name in sorted(names))  # type: ignore[misc]


def all_tools_fidelity(put: PutCalls) -> ToolFidelity:
    """Of all calls together, also of tools that training does not know."""
    return _fidelity(ALL_TOOLS, put, lambda _: True)


def _fidelity(name: str, put: PutCalls, is_meant: Callable[[str], bool]) -> ToolFidelity:
    rows = [row for row in put.rows if is_meant(row.tool)]
    effects = [effect for effect in put.effects if is_meant(effect.writer)]
    recalls = [recall for recall in put.recalls if is_meant(recall.tool)]
    answered = [row for row in rows if _is_claimed(row, put)]
    is_mock = any(row.basis is not None for row in rows)
    judged = [row for row in rows if row.is_accepted is not None]
    return ToolFidelity(
        tool=name,
        training_calls=sum(count for tool, count in put.training_calls.items() if is_meant(tool)),
        calls=len(rows),
        result_match=_share(rows, lambda row: row.is_same),
        field_match=_mean(rows, lambda row: row.field_match),
        bases={basis: _basis(rows, basis) for basis in BASES} if is_mock else {},
        gain=_difference([row for row in answered if row.found is not None], lambda row: (row.found, row.chance)),
        chance=_mean([row for row in answered if row.chance is not None], lambda row: row.chance or 0.0),
        replay_gap=_difference([row for row in rows if row.replayed is not None], lambda row: (row.found, row.replayed)),
        recall=share([recall.is_recorded for recall in recalls], [recall.cluster_id for recall in recalls], of="training calls"),
        recorded_errors=_share(rows, lambda row: row.was_error),
        errors=_share(rows, lambda row: row.is_error),
        error_gap=_difference(answered, lambda row: (float(row.is_error), float(row.was_error))),
        accepted=_share(judged, lambda row: bool(row.is_accepted)),
        known=_share(judged, lambda row: row.is_known),
        covered=_share(judged, lambda row: bool(row.is_accepted) and row.is_known),
        effects=mean(
            [effect.shown for effect in effects], [effect.cluster_id for effect in effects], of="reads after a write", bounds=(0, 1)
        ),
    )


def _is_claimed(row: PutCall, put: PutCalls) -> bool:
    """Whether the environment stands behind its answer.

    A mock that knows nothing of a call says so with an error; that is no claim. But where training knows a tool only by its errors, an
    error is all that anybody will ever get.
    """
    calls = put.training_calls.get(row.tool, 0)
    has_only_errors = calls > 0 and put.training_errors.get(row.tool, 0) == calls
    return row.basis != "unknown" or has_only_errors


def _basis(rows: Sequence[PutCall], basis: str) -> BasisFidelity:
    within = [row for row in rows if row.basis == basis]
    return BasisFidelity(
        share=_share(rows, lambda row: row.basis == basis),
        result_match=_share(within, lambda row: row.is_same),
        field_match=_mean(within, lambda row: row.field_match),
    )


def _share(rows: Sequence[PutCall], is_true: Callable[[PutCall], bool]) -> Figure:
    return share([is_true(row) for row in rows], _clusters(rows), of="calls")


def _mean(rows: Sequence[PutCall], value: Callable[[PutCall], float]) -> Figure:
    return mean([value(row) for row in rows], _clusters(rows), of="calls", bounds=(0, 1))


def _difference(rows: Sequence[PutCall], pair: Callable[[PutCall], tuple[float | None, float | None]]) -> Figure:
    """Of two shares of each call, the first less the second; -1 to 1."""
    pairs = [pair(row) for row in rows]
    return mean([(first or 0.0) - (second or 0.0) for first, second in pairs], _clusters(rows), of="calls", bounds=(-1, 1))


def _clusters(rows: Sequence[PutCall]) -> list[str]:
    return [row.cluster_id for row in rows]
