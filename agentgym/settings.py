"""Everything that comes from the environment: read once, by an entry point, and passed down as values."""

import shutil
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from agentgym.errors import InvalidInput, Unavailable

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _store_in(workspace: Path) -> str:
    return str(workspace / "store")


def _tracking_in(workspace: Path) -> str:
    return f"sqlite:///{workspace / 'mlflow.db'}"


def _experience_in(workspace: Path) -> str:
    return f"sqlite:///{workspace / 'experience.db'}"


class Settings(BaseSettings):
    """How this installation runs. Each field is the environment variable `AGENTGYM_` + its name, or a line in `.env`; see `.env.example`.

    The default is the embedded profile: everything inside one folder, no server, one torch thread, no telemetry.
    """

    model_config = SettingsConfigDict(env_prefix="AGENTGYM_", env_file=".env", frozen=True, extra="ignore", populate_by_name=True)

    workspace: Annotated[Path, AfterValidator(_absolute)] = Field(default=Path(".agentgym"), validate_default=True)
    store: str = Field(default_factory=lambda fields: _store_in(fields["workspace"]))
    tracking_uri: str = Field(default_factory=lambda fields: _tracking_in(fields["workspace"]))
    history_url: str | None = None
    experience_url: str = Field(default_factory=lambda fields: _experience_in(fields["workspace"]))
    endpoint_host: str = Field(default="127.0.0.1", min_length=1)
    endpoint_port: int = Field(default=8000, ge=1, le=65535)
    endpoint_replicas: int = Field(default=1, ge=1, le=1000)
    api_key: SecretStr | None = None
    llm_base_url: str | None = Field(default=None, min_length=1)
    llm_api_key: SecretStr | None = None
    llm_model: str | None = Field(default=None, min_length=1)
    ray_address: str | None = Field(default=None, validation_alias=AliasChoices("AGENTGYM_RAY_ADDRESS", "RAY_ADDRESS"))
    torch_threads: int = Field(default=1, ge=1, le=256)
    model_downloads: bool = False
    telemetry: bool = False
    log_level: LogLevel = "WARNING"

    def inside(self, workspace: Path) -> Self:
        """The same settings with everything that is kept on disk inside `workspace`, whatever the environment says of the store."""
        folder = _absolute(workspace)
        return self.model_copy(
            update={
                "workspace": folder,
                "store": _store_in(folder),
                "tracking_uri": _tracking_in(folder),
                "history_url": None,
                "experience_url": _experience_in(folder),
            }
        )


def read_settings(**overrides: Any) -> Settings:
    """The settings of the environment and `.env`, with `overrides` (from a command line) above them. Raises InvalidInput."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        wrong = "; ".join(f"AGENTGYM_{str(line['loc'][0]).upper()}: {line['msg']}, got {line['input']!r}" for line in error.errors())
        raise InvalidInput(f"Settings must be readable; {wrong}. Set them as .env.example shows.") from error


def quiet_environment(settings: Settings) -> Mapping[str, str]:
    """Environment variables that keep the libraries below us silent, local, and inside the workspace.

    Ray, Prefect, MLflow and Great Expectations read them when they are imported, so an entry point sets them before that.
    """
    return {
        "PREFECT_HOME": str(settings.workspace / "prefect"),
        "PREFECT_LOGGING_LEVEL": settings.log_level,
        # The in-process API needs 7 to 12 seconds on a laptop and more on a busy one; Prefect gives up after 20.
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "MLFLOW_LOGGING_LEVEL": settings.log_level,
        # MLflow imports GitPython, which complains on a machine without git.
        "GIT_PYTHON_REFRESH": "quiet",
        # Ray announces a coming change of how it hides GPUs; 0 is the new behaviour.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "OMP_NUM_THREADS": str(settings.torch_threads),
        "TOKENIZERS_PARALLELISM": "false",
        **({} if settings.model_downloads else {"HF_HUB_OFFLINE": "1"}),
        **({} if settings.telemetry else _NO_TELEMETRY),
    }


_NO_TELEMETRY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # MLflow accepts only "true" here, Prefect that as well.
    "DO_NOT_TRACK": "true",
}


def silence(settings: Settings, environment: MutableMapping[str, str]) -> None:
    """Sets `quiet_environment` in `environment`; what somebody has set there already stays, for they asked for it."""
    for name, setting in quiet_environment(settings).items():
        environment.setdefault(name, setting)


def make_workspace(settings: Settings, *, least_free_bytes: int = 64 * 2**20) -> None:
    """Makes the folder everything is kept in. Prefect's in-process server starts only where it is there before Prefect is imported.

    least_free_bytes: on a full disk that server would not start, and would not say why. Raises Unavailable.
    """
    try:
        # Conversations are kept in it, which are nobody else's.
        settings.workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(settings.workspace).free
    except OSError as error:
        raise Unavailable(
            f"The workspace must be a folder to write in; {settings.workspace} said {error}. Set AGENTGYM_WORKSPACE."
        ) from error
    if free < least_free_bytes:
        raise Unavailable(
            f"The workspace needs {least_free_bytes / 2**20:,.0f} MiB of free disk to begin with; {settings.workspace} has "
            f"{free / 2**20:,.0f} MiB. Free some space, or set AGENTGYM_WORKSPACE."
        )
