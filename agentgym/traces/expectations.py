"""What a log of conversations must be like, as expectations of Great Expectations over its flat tables.

Importing this module takes seconds, because Great Expectations does: import it where a log is validated, and nowhere else.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults, ProgressBarsConfig
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_in_set import ExpectColumnValuesToBeInSet
from great_expectations.expectations.core.expect_column_values_to_be_null import ExpectColumnValuesToBeNull
from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
from great_expectations.render.view.view import DefaultJinjaPageView

from agentgym.episode import Outcome
from agentgym.errors import ContractBroken
from agentgym.messages import Role
from agentgym.traces.tables import COLUMNS

SHOWN_EXAMPLES = 20
# The page's logo is fetched with the time as its address, which would tell its makers when a report is read.
_BEACON = re.compile(r'<img[^>]+src="https://great-expectations-web-assets[^>]*>')
ROLES = get_args(Role)
LARGEST = float(np.finfo(float).max)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A rule that a record breaks. row: its place in the batch.   detail: where and with what, empty when the rule says it all."""

    row: int
    rule: str
    detail: str

    @property
    def reason(self) -> str:
        return f"{self.rule}; {self.detail}." if self.detail else f"{self.rule}."


class Inspection:
    """Inspects a log batch by batch, and renders what was found in all of it as Data Docs."""

    def __init__(self) -> None:
        self._context = gx.get_context(mode="ephemeral", project_config=_quiet_configuration())
        source = self._context.data_sources.add_pandas("log")
        self._batches = {name: source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("batch") for name in COLUMNS}
        self._suites = {name: gx.ExpectationSuite(name=name, expectations=list(_RULES[name])) for name in COLUMNS}
        self._results: dict[str, ExpectationSuiteValidationResult] = {}

    def inspect(self, tables: Mapping[str, pd.DataFrame]) -> list[Finding]:
        """What is wrong in a batch, as `flatten` gives it."""
        findings: list[Finding] = []
        for name, table in tables.items():
            if len(table):
                result = self._validate(name, table)
                findings += (finding for each in result.results for finding in _findings(each))
                self._results[name] = _merged(self._results.get(name), result)
        return findings

    def pages(self) -> dict[str, str]:
        """Data Docs: an HTML page for each table, by file name."""
        view, renderer = DefaultJinjaPageView(), ValidationResultsPageRenderer()
        return {f"{name}.html": _BEACON.sub("", view.render(renderer.render(result))) for name, result in self._results.items()}  # type: ignore[no-untyped-call]

    def _validate(self, name: str, table: pd.DataFrame) -> ExpectationSuiteValidationResult:
        keys = ["row"] if name == "conversations" else ["row", "position"]
        batch = self._batches[name].get_batch(batch_parameters={"dataframe": table})
        return batch.validate(self._suites[name], result_format={"result_format": "COMPLETE", "unexpected_index_column_names": keys})


def _quiet_configuration() -> DataContextConfig:
    return DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
    )


def _findings(result: ExpectationValidationResult) -> list[Finding]:
    expectation = result.expectation_config
    assert expectation is not None  # Great Expectations leaves it away only in results that were loaded from elsewhere
    column, rule = expectation.kwargs["column"], (expectation.meta or {})["rule"]
    if "unexpected_count" not in result.result:
        raise ContractBroken(
            f"Every rule must be judged on every batch; {rule!r} was not: {result.exception_info!r}. Report the log's shape."
        )
    return [
        Finding(row=int(entry["row"]), rule=rule, detail=_detail(entry.get("position"), column, entry[column]))
        for entry in result.result.get("unexpected_index_list") or ()
    ]


def _detail(position: int | None, column: str, value: object) -> str:
    where = "" if position is None else f"message {int(position)}"
    # Infinite is what the table holds for anything that is no number.
    is_number = not isinstance(value, float | np.floating) or np.isfinite(value)
    is_telling = is_number and not isinstance(value, bool | np.bool_) and value is not None
    shown = f"{column} is {value.item() if isinstance(value, np.generic) else value!r}" if is_telling else ""
    return ": ".join(filter(None, (where, shown)))


def _merged(before: ExpectationSuiteValidationResult | None, now: ExpectationSuiteValidationResult) -> ExpectationSuiteValidationResult:
    """Two batches' results as if they had been one, with as many examples as are shown."""
    pairs = [(None, each) for each in now.results] if before is None else list(zip(before.results, now.results, strict=True))
    results = [_summed(first, second) for first, second in pairs]
    successes = sum(bool(each.success) for each in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": successes,
        "unsuccessful_expectations": len(results) - successes,
        "success_percent": 100 * successes / len(results),
    }
    return ExpectationSuiteValidationResult(
        success=successes == len(results), results=results, suite_name=now.suite_name, statistics=statistics, meta=now.meta
    )


def _summed(first: ExpectationValidationResult | None, second: ExpectationValidationResult) -> ExpectationValidationResult:
    parts = [each.result for each in (first, second) if each is not None]
    elements, missing, unexpected = (
        sum(part.get(name) or 0 for part in parts) for name in ("element_count", "missing_count", "unexpected_count")
    )
    present = elements - missing
    return ExpectationValidationResult(
        success=not unexpected,
        expectation_config=second.expectation_config,
        result={
            "element_count": elements,
            "missing_count": missing,
            "unexpected_count": unexpected,
            "missing_percent": 100 * missing / elements if elements else None,
            "unexpected_percent": 100 * unexpected / present if present else None,
            "unexpected_percent_total": 100 * unexpected / elements if elements else None,
            "unexpected_percent_nonmissing": 100 * unexpected / present if present else None,
            "partial_unexpected_list": [value for part in parts for value in part.get("partial_unexpected_list") or ()][:SHOWN_EXAMPLES],
        },
        meta=second.meta,
    )


def _rule(says: str, expectation: type[ColumnMapExpectation], column: str, **parameters: Any) -> ColumnMapExpectation:
    return expectation(column=column, description=f"{says}.", meta={"rule": says}, **parameters)


def _given(column: str, says: str) -> ColumnMapExpectation:
    return _rule(says, ExpectColumnValuesToNotBeNull, column)


def _absent(column: str, says: str) -> ColumnMapExpectation:
    return _rule(says, ExpectColumnValuesToBeNull, column)


def _one_of(column: str, allowed: Sequence[object], says: str) -> ColumnMapExpectation:
    return _rule(says, ExpectColumnValuesToBeInSet, column, value_set=list(allowed))


def _within(column: str, low: float, high: float, says: str) -> ColumnMapExpectation:
    return _rule(says, ExpectColumnValuesToBeBetween, column, min_value=low, max_value=high)


_RULES: Mapping[str, tuple[ColumnMapExpectation, ...]] = {
    "conversations": (
        _given("conversation_id", "A conversation needs an id"),
        _absent("used_at", "A conversation_id is used once"),
        _absent("copy_of", "A conversation is in the log once"),
        _within("messages", 1, LARGEST, "A conversation has messages"),
        _within("user_messages", 1, LARGEST, "The customer says something"),
        _within("assistant_messages", 1, LARGEST, "The agent does something"),
        _one_of("outcome", [*map(str, Outcome)], f"An outcome is {', '.join(Outcome)}, or unknown"),
        _within("satisfaction_score", 1, 5, "A satisfaction_score is a finite number from 1 to 5, or unknown"),
        _within("agent_tokens", 0, LARGEST, "The agent_tokens are a finite number from 0, or unknown"),
        _within("latency_seconds", 0, LARGEST, "The latency_seconds are a finite number from 0, or unknown"),
    ),
    "messages": (
        _one_of("role", ROLES, f"A role is {', '.join(ROLES)}"),
        _one_of("is_empty", [False], "A message of the customer or the agent holds words or a call"),
        _one_of("answers_a_call", [True], "A result follows the call it answers"),
    ),
    "tool_calls": (
        _given("name", "A call names a tool"),
        _one_of("is_declared", [True], "A call that worked is of a declared tool"),
        _one_of("arguments_type", ["object"], "Arguments are a JSON object"),
        _absent("schema_violation", "A call that worked fits the tool's schema"),
        _one_of("is_answered", [True], "A call is answered before anybody speaks"),
    ),
}
