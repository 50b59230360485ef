"""A live test begun, looked at, and ended; every step here finds its work done when it is repeated."""

from collections.abc import Mapping
from datetime import UTC, datetime

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import BaseModel, ConfigDict

from agentgym.ab_tests.ab_test import ABTest, ABTestCriteria
from agentgym.ab_tests.analysis import analyze
from agentgym.ab_tests.test_log import ABTestLog
from agentgym.errors import InvalidInput
from agentgym.registry import ModelRegistry, ModelVersion
from agentgym.registry.ledger import OpenConversations, open_ledger
from agentgym.serving.exposure_log import ExposureLog
from agentgym.serving.served import observations_of
from agentgym.serving.traffic import Allocation
from agentgym.serving.traffic_log import TrafficLog
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.verdicts import ABTestReport, LiveVerdict, Subject
from tasks.artifacts import read_value, write_value
from tasks.registry import open_registry
from tasks.showing import ab_test_markdown, ab_test_table
from tasks.step import step


class Review(BaseModel):
    """A look at a test by reference, with its verdict at hand for the flow to branch on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    test_id: str
    report: ArtifactRef
    verdict: LiveVerdict


@step
def begin_ab_test(
    agent: str, weights: Mapping[str, float] | None, criteria: ABTestCriteria, salt: str | None, settings: Settings
) -> ABTest:
    """The test between the champion and another version, written down.

    weights: share by version, such as {"1": 0.9, "2": 0.1}; None for champion and challenger, half each.
    salt: what deals the customers; None for one of this test's own.
    A running test that is the same is gone on with. Raises InvalidInput when the weights do not name the champion and one other registered
    version, Refused while another test runs.
    """
    registry, tests = open_registry(agent, settings), ABTestLog(settings.experience_url, agent)
    control, treatment, shares = _arms(registry, weights)
    now = datetime.now(UTC)
    running = find_running_test.fn(agent, settings)
    if running and running.weights == shares and running.criteria == criteria and running.salt == (salt or running.salt):
        return running
    test_id = f"{agent}-{control.version}-{treatment.version}-{now:%Y%m%d-%H%M%S-%f}"
    return tests.start(
        ABTest(
            test_id=test_id,
            agent=agent,
            control=_subject(control),
            treatment=_subject(treatment),
            salt=salt or test_id,
            weights=shares,
            criteria=criteria,
            started_at=now,
        )
    )


@step
def ramp_ab_test(agent: str, weights: Mapping[str, float], settings: Settings) -> ABTest:
    """The running test with other shares; conversations under way stay where they began."""
    tests = ABTestLog(settings.experience_url, agent)
    running, shares = tests.running(), _by_number(open_registry(agent, settings), weights)
    if shares.keys() != {running.control.name, running.treatment.name}:
        raise InvalidInput(
            f"A ramp changes the shares of the test's own versions, {running.control.name} and {running.treatment.name}; "
            f"got {shares!r}. Stop the test to compare others."
        )
    return tests.ramp(shares, at=datetime.now(UTC))


@step
def find_running_test(agent: str, settings: Settings) -> ABTest | None:
    """The test that runs now; None where none does."""
    _, latest = ABTestLog(settings.experience_url, agent).latest()
    return latest if latest is not None and latest.is_running else None


@step
def look_at_ab_test(agent: str, settings: Settings) -> Review:
    """The report on everything that is known by now; of a test that was shipped but not ended yet, the one it was shipped by."""
    report = current_report(agent, settings)
    create_table_artifact(ab_test_table(report), key="ab-test", description=report.test_id)
    create_markdown_artifact(ab_test_markdown(report), key="ab-verdict", description=report.verdict)
    return Review(test_id=report.test_id, report=write_value(report, settings), verdict=report.verdict)


@step
def end_ab_test(agent: str, review: Review, open_conversations: OpenConversations, settings: Settings) -> ABTest:
    """The test, ended with this review.   open_conversations: whether those on the treatment finish there or move to the champion."""
    report = read_report(review, settings)
    tests = ABTestLog(settings.experience_url, agent)
    return tests.end(review.test_id, at=datetime.now(UTC), report=report, open_conversations=open_conversations)


@step
def call_off_ab_test(agent: str, test_id: str | None, settings: Settings) -> str | None:
    """Ends the running test without a verdict, where one runs; its id.   test_id: only this one; None for any."""
    running = find_running_test.fn(agent, settings)
    if running is None or test_id not in (None, running.test_id):
        return None
    return ABTestLog(settings.experience_url, agent).end(running.test_id, at=datetime.now(UTC)).test_id


def read_report(review: Review, settings: Settings) -> ABTestReport:
    return read_value(review.report, ABTestReport, settings)


def current_report(agent: str, settings: Settings) -> ABTestReport:
    """What the latest test says now, or said when it ended. Raises InvalidInput when there was none."""
    _, test = ABTestLog(settings.experience_url, agent).latest()
    if test is None:
        raise InvalidInput(f"There must be a test to look at; {agent!r} has had none. Start one: agentgym ab start.")
    return test.report or _shipped_by(agent, test, settings) or _analyze_now(test, settings)


def _analyze_now(test: ABTest, settings: Settings) -> ABTestReport:
    exposures, traffic = ExposureLog(settings.experience_url, test.agent), TrafficLog(settings.experience_url, test.agent)
    return analyze(test, observations_of(test.test_id, exposures, traffic), at=test.ended_at or datetime.now(UTC))


def _arms(registry: ModelRegistry, weights: Mapping[str, float] | None) -> tuple[ModelVersion, ModelVersion, dict[str, float]]:
    champion = registry.resolve("@champion")
    if weights is None:
        challenger = registry.resolve("@challenger")
        return champion, challenger, {str(champion.version): 0.5, str(challenger.version): 0.5}
    shares = _by_number(registry, weights)
    others = [registry.resolve(name) for name in shares if name != str(champion.version)]
    if len(others) != 1 or len(shares) != 2:
        raise InvalidInput(
            f"A test compares the champion, version {champion.version}, with one other version; got weights for {', '.join(shares)}. "
            "Name both, the champion as what customers have today."
        )
    return champion, others[0], shares


def _by_number(registry: ModelRegistry, weights: Mapping[str, float]) -> dict[str, float]:
    """Shares by version number, where an alias such as `@challenger` may stand for one. Raises InvalidInput."""
    shares = Allocation(weights=weights).weights
    return {str(registry.resolve(name).version): share for name, share in shares.items()}


def _subject(version: ModelVersion) -> Subject:
    return Subject(name=str(version.version), checkpoint_digest=version.checkpoint.digest)


def _shipped_by(agent: str, test: ABTest, settings: Settings) -> ABTestReport | None:
    """The report that made the treatment champion: what a process that died right after that left to do."""
    history = open_ledger(settings.tracking_uri, agent, history_url=settings.history_url).entries()
    reports = (entry.report for entry in history if entry.report is not None)
    return next((report for report in reports if report.test_id == test.test_id), None)
