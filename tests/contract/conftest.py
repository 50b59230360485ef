from pathlib import Path

import pytest

from agentgym.registry import ModelRegistry
from agentgym.tracking import open_mlflow


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow needs seconds to create its tables; once is enough."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_mlflow(f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def uri(migrated_database: Path, tmp_path: Path) -> str:
    """A real MLflow without anything in it."""
    (tmp_path / "mlflow.db").write_bytes(migrated_database.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def registry(uri: str) -> ModelRegistry:
    return ModelRegistry(uri, "support_agent")
