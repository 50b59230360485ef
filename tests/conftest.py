"""What holds for every test: libraries silent and away from the user's folders, and a run without a test is no success."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from agentgym.settings import read_settings, silence

_executed: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    workspace = Path(tempfile.mkdtemp(prefix="agentgym-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(workspace, ignore_errors=True))
    silence(read_settings().inside(workspace), os.environ)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and not report.skipped:
        _executed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Tests that were all skipped are no tests: pytest alone would call that a success."""
    if exitstatus == pytest.ExitCode.OK and not _executed and not session.config.option.collectonly:
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED
