"""The forecast of a learning curve: right where the law holds, honest about its interval, and close on real dialogues."""

import os
from math import log
from pathlib import Path

import numpy as np
import pytest

from agentgym.errors import InsufficientData
from agentgym.evaluation.learning_curve import CurvePoint, LearningCurve, measure_curve
from agentgym.messages import assistant, user
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.traces.importers import import_traces
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def point(conversations: int, reliability: float, *, due: int = 10_000) -> CurvePoint:
    right = round(due * reliability)
    return CurvePoint(conversations=conversations, calls=conversations, right=right, due=due, by_tool={}, seconds=0.1)


def curve(*points: CurvePoint, calls: int = 10_000) -> LearningCurve:
    return LearningCurve(points=points, calls=calls)


def test_where_the_error_halves_with_four_times_as_many_it_goes_on_to():
    measured = curve(point(25, 0.2), point(25, 0.2), point(100, 0.6), point(100, 0.6))
    # .8 → .4 is a power of -1/2, so 400 conversations leave .2 and 1,600 leave .1.
    assert measured.forecast(400).mean == pytest.approx(0.8, abs=1e-6)
    assert measured.forecast(1_600).mean == pytest.approx(0.9, abs=1e-6)


def test_a_curve_that_falls_is_taken_for_one_that_stays():
    measured = curve(point(25, 0.6), point(50, 0.58), point(100, 0.56), point(200, 0.54))
    assert measured.forecast(5_000).mean == pytest.approx(1 - np.exp(np.mean(np.log([0.4, 0.42, 0.44, 0.46]))), abs=1e-6)


def test_no_error_on_a_few_turns_is_no_promise_of_perfection():
    assert curve(*(point(size, 1.0, due=20) for size in (25, 50, 100, 200))).forecast(200).mean == pytest.approx(1 - 0.5 / 20)


def test_the_interval_covers_one_more_training_as_often_as_it_says():
    rng = np.random.default_rng(0)
    sizes = [20, 20, 20, 40, 40, 40, 80, 80, 160, 160]

    def measured(size: int) -> float:
        return 1 - 2 * size**-0.4 * float(np.exp(rng.normal(0, 0.05)))

    def is_covered() -> bool:
        forecast = curve(*(point(size, measured(size)) for size in sizes), calls=10**9).forecast(640)
        return forecast.low <= measured(640) <= forecast.high

    # 90 %, and the standard error over 500 is 1.3 points.
    assert 0.86 <= np.mean([is_covered() for _ in range(500)]) <= 0.94


def test_a_small_log_has_a_wide_interval():
    points = [point(size, 1 - 2 * size**-0.4) for size in (20, 40, 80, 160)]
    few, many = (curve(*points, calls=calls).forecast(320) for calls in (100, 10_000))
    # The points lie on the line, so the log's own size alone is left: 1.645 · √(p (1 - p) / calls).
    assert few.high - few.mean == pytest.approx(1.645 * (few.mean * (1 - few.mean) / 100) ** 0.5, rel=1e-3)
    assert few.high - few.low == pytest.approx(10 * (many.high - many.low), rel=1e-4)


def test_a_log_without_enough_customers_has_no_curve():
    traces = [Trace(conversation_id=str(n), customer_id=str(n % 15), messages=(user("Hello"), assistant("Hello"))) for n in range(60)]
    with pytest.raises(InsufficientData, match="16 customers at least; got 15"):
        measure_curve(traces)


def test_talk_alone_has_no_curve():
    traces = [Trace(conversation_id=str(number), messages=(user("Hello"), assistant("Hello"))) for number in range(60)]
    with pytest.raises(InsufficientData, match="parts of a log that call tools"):
        measure_curve(traces)


def test_no_customer_is_learned_from_and_judged_on(monkeypatch):
    world = CustomerSupport()
    traces = list(write_logs(world, world.legacy_agent(), 80, seed=3))
    parts: list[tuple[set[str], set[str]]] = []

    def watch(train, judged, tools):
        parts.append(({trace.cluster_id for trace in train}, {trace.cluster_id for trace in judged}))
        return point(len(train), 1 - 1 / log(len(train)))

    monkeypatch.setattr("agentgym.evaluation.learning_curve._point", watch)
    measure_curve(traces, tools=world.tools)
    assert parts
    assert all(not train & judged for train, judged in parts)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")
def test_what_100_real_dialogues_forecast_comes_true_with_400():
    traces = [trace for trace in import_traces(SHARED_DATA / "sgd" / "train", "sgd") if isinstance(trace, Trace)]
    drawn = [traces[at] for at in np.random.default_rng(0).permutation(len(traces))]
    forecast = measure_curve(drawn[:100]).forecast(400)
    from agentgym.evaluation.learning_curve import _point

    reached = _point(drawn[:400], drawn[400:600], ())
    assert reached is not None
    assert forecast.mean == pytest.approx(reached.reliability, abs=0.06)
