"""An in-process Prefect API with its own database and result storage, started once for all of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_LOGGING_LEVEL, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from agentgym.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    results = tmp_path_factory.mktemp("results")
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_LOCAL_STORAGE_PATH: results, PREFECT_LOGGING_LEVEL: "CRITICAL"}),
    ):
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings().inside(tmp_path / "workspace")
