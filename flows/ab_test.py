"""Let customers decide: start a live test, collect what comes of it, and conclude."""

import time

from prefect import flow

from agentgym.ab_tests.ab_test import ABTest, ABTestCriteria
from agentgym.errors import InvalidInput
from agentgym.settings import read_settings
from tasks.ab_tests import (
    Review,
    begin_ab_test,
    call_off_ab_test,
    end_ab_test,
    find_running_test,
    look_at_ab_test,
    ramp_ab_test,
)
from tasks.registry import promote_tested_version
from tasks.serving import align_traffic


@flow(name="ab-test")
def ab_test(
    agent: str = "agent",
    weights: dict[str, float] | None = None,
    criteria: ABTestCriteria = ABTestCriteria(),  # noqa: B008 - frozen
    look_every_seconds: float = 300.0,
) -> Review | None:
    """Tests the challenger against the champion until there is a verdict, and carries it out; None when somebody else has ended it.

    weights: share by version; None for half each.   Looking often costs nothing: the verdict stays valid.
    """
    start_ab_test(agent, weights, criteria)
    while (review := conclude_ab_test(agent)) is not None and review.verdict == "keep_running":
        time.sleep(look_every_seconds)
    return review


@flow(name="start-ab-test")
def start_ab_test(
    agent: str = "agent",
    weights: dict[str, float] | None = None,
    criteria: ABTestCriteria = ABTestCriteria(),  # noqa: B008 - frozen
    salt: str | None = None,
) -> ABTest:
    """Splits the traffic between the champion and another version. A version that does not load calls the test off.

    salt: another one deals all customers anew; None for one of this test's own.
    """
    settings = read_settings()
    test = begin_ab_test(agent, weights, criteria, salt, settings)
    try:
        align_traffic(agent, settings)
    except InvalidInput:
        call_off_ab_test(agent, test.test_id, settings)
        align_traffic(agent, settings)
        raise
    return test


@flow(name="ramp-ab-test")
def change_weights(weights: dict[str, float], agent: str = "agent") -> ABTest:
    """Gives the versions of the running test other shares; open conversations stay where they began."""
    settings = read_settings()
    test = ramp_ab_test(agent, weights, settings)
    align_traffic(agent, settings)
    return test


@flow(name="conclude-ab-test")
def conclude_ab_test(agent: str = "agent") -> Review | None:
    """Looks at the running test; ships or stops it when its verdict says so, and leaves it running otherwise. None where none runs."""
    settings = read_settings()
    if find_running_test(agent, settings) is None:
        return None
    review = look_at_ab_test(agent, settings)
    if review.verdict == "ship":
        promote_tested_version(agent, review.report, settings)
    if review.verdict != "keep_running":
        end_ab_test(agent, review, "stay" if review.verdict == "ship" else "move", settings)
        align_traffic(agent, settings)
    return review


@flow(name="stop-ab-test")
def stop_ab_test(agent: str = "agent", drain: bool = False) -> Review:
    """Ends the test whatever it says so far; the champion stays.   drain: open conversations finish where they are."""
    settings = read_settings()
    review = look_at_ab_test(agent, settings)
    end_ab_test(agent, review, "stay" if drain else "move", settings)
    align_traffic(agent, settings)
    return review
