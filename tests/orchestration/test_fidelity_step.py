"""An environment that answers otherwise than the log stops the flow before anything is trained, unless a reason is given."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentgym.errors import InvalidInput, Refused
from agentgym.scenarios.fidelity import FidelityBar
from agentgym.settings import Settings
from agentgym.traces.source import TraceSource
from agentgym.training.config import TrainingConfig
from flows.improve_agent import improve_agent
from tasks.fidelity import Fidelity, read_fidelity, require_fidelity
from tasks.registry import open_registry

PRODUCTS = 6


def conversation(number: int, price_of: Callable[[int], int]) -> dict[str, Any]:
    product = number % PRODUCTS
    return {
        "conversation_id": f"c{number}",
        "messages": [
            {"role": "user", "content": f"Customer {number} here: what does product {product} cost?"},
            {"role": "assistant", "tool_calls": [{"name": "get_price", "arguments": {"product": product}}]},
            {"role": "tool", "name": "get_price", "result": {"cents": price_of(product)}},
            {"role": "assistant", "content": "There you are."},
        ],
        "outcome": "resolved",
    }


def write_log(path: Path, numbers: range, price_of: Callable[[int], int]) -> Path:
    path.write_text("".join(f"{json.dumps(conversation(number, price_of))}\n" for number in numbers))
    return path


@pytest.fixture
def broken(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> TraceSource:
    """Results that belong to the call for the next product, beside conversations in which they do not."""
    monkeypatch.setenv("AGENTGYM_WORKSPACE", str(settings.workspace))
    train = write_log(tmp_path / "train.jsonl", range(60), lambda product: 100 * ((product + 1) % PRODUCTS))
    return TraceSource(path=train, held_out=write_log(tmp_path / "held-out.jsonl", range(60, 100), lambda product: 100 * product))


def checkpoints(settings: Settings) -> list[Path]:
    return list(Path(settings.store).rglob("*.checkpoint.zip"))


def test_below_the_bar_nothing_is_trained_and_the_tool_is_named(broken: TraceSource, settings: Settings) -> None:
    with pytest.raises(Refused, match=r"get_price: its answers hold .* Look whether its results belong to its calls"):
        improve_agent(broken)
    assert checkpoints(settings) == []
    assert open_registry("agent", settings).versions() == ()


def test_a_waiver_lets_training_begin(broken: TraceSource, settings: Settings) -> None:
    """Distillation asks for its teacher after imitation, and there is none: the flow came that far."""
    with pytest.raises(InvalidInput, match="Distillation learns from the champion"):
        improve_agent(broken, training=TrainingConfig(method="distill"), waive_fidelity="The prices were changed on purpose.")
    assert len(checkpoints(settings)) == 1


def test_a_waiver_without_a_reason_is_none(broken: TraceSource) -> None:
    with pytest.raises(InvalidInput, match="A waiver needs a reason"):
        improve_agent(broken, waive_fidelity="  ")


def test_what_was_waived_is_told_and_nothing_where_nothing_had_to_be(broken: TraceSource, settings: Settings) -> None:
    fidelity = _fidelity_of(broken, settings)
    waived = require_fidelity(fidelity, "On purpose.", settings)
    assert waived is not None
    assert waived.failed == tuple(check.statement for check in read_fidelity(fidelity, settings).failed_checks)
    assert require_fidelity(Fidelity(report=fidelity.report, verdict="not_measured"), "On purpose.", settings) is None


def _fidelity_of(source: TraceSource, settings: Settings) -> Fidelity:
    from tasks.fidelity import measure_environment
    from tasks.scenarios import synthesize_scenario
    from tasks.traces import fingerprint_source, ingest_traces

    snapshot = ingest_traces(source, fingerprint_source(source, settings), settings).snapshot
    fidelity: Fidelity = measure_environment(snapshot, synthesize_scenario(snapshot, "recorded", settings), FidelityBar(), settings)
    return fidelity
