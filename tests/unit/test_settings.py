import re
from pathlib import Path

import pytest

from agentgym.errors import InvalidInput, Unavailable
from agentgym.settings import Settings, make_workspace, quiet_environment, read_settings, silence
from agentgym.store import FileStore, open_store

EXAMPLE = Path(__file__).parents[2] / ".env.example"
TELEMETRY = {
    "RAY_USAGE_STATS_ENABLED",
    "PREFECT_SERVER_ANALYTICS_ENABLED",
    "MLFLOW_DISABLE_TELEMETRY",
    "GX_ANALYTICS_ENABLED",
    "DO_NOT_TRACK",
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder_without_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for field in Settings.model_fields:
        monkeypatch.delenv(f"AGENTGYM_{field.upper()}", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def test_everything_is_kept_in_one_folder_by_default(tmp_path):
    settings = read_settings()
    assert settings.workspace == tmp_path / ".agentgym"
    assert settings.store == str(tmp_path / ".agentgym/store")
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/.agentgym/mlflow.db"


def test_the_store_and_the_tracking_follow_the_workspace(monkeypatch):
    monkeypatch.setenv("AGENTGYM_WORKSPACE", "/somewhere")
    assert read_settings().store == "/somewhere/store"
    assert read_settings().tracking_uri == "sqlite:////somewhere/mlflow.db"


def test_the_command_line_wins_over_the_environment_and_the_environment_over_the_file(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("AGENTGYM_TORCH_THREADS=2\nAGENTGYM_LOG_LEVEL=INFO\nAGENTGYM_STORE=s3://bucket/file\n")
    monkeypatch.setenv("AGENTGYM_TORCH_THREADS", "3")
    monkeypatch.setenv("AGENTGYM_LOG_LEVEL", "ERROR")
    settings = read_settings(torch_threads=4)
    assert (settings.torch_threads, settings.log_level, settings.store) == (4, "ERROR", "s3://bucket/file")


def test_a_ray_cluster_is_found_by_its_usual_name_and_ours_wins(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://theirs:8265")
    assert read_settings().ray_address == "http://theirs:8265"
    monkeypatch.setenv("AGENTGYM_RAY_ADDRESS", "http://ours:8265")
    assert read_settings().ray_address == "http://ours:8265"


def test_an_unreadable_setting_is_named_with_its_rule(monkeypatch):
    monkeypatch.setenv("AGENTGYM_TORCH_THREADS", "0")
    with pytest.raises(InvalidInput, match=r"AGENTGYM_TORCH_THREADS: .*greater than or equal to 1, got '0'.*\.env\.example"):
        read_settings()


def test_settings_inside_a_folder_keep_nothing_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTGYM_STORE", "s3://bucket/prefix")
    settings = read_settings(torch_threads=2).inside(tmp_path / "demo")
    assert open_store(settings.store).root == FileStore(tmp_path / "demo/store").root
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/demo/mlflow.db"
    assert settings.torch_threads == 2


def test_telemetry_is_off_unless_asked_for():
    assert quiet_environment(read_settings()).keys() >= TELEMETRY
    assert not quiet_environment(read_settings(telemetry=True)).keys() & TELEMETRY


def test_models_are_fetched_only_when_asked_for():
    assert quiet_environment(read_settings())["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in quiet_environment(read_settings(model_downloads=True))


def test_what_somebody_set_already_is_left_alone(tmp_path):
    environment = {"PREFECT_LOGGING_LEVEL": "DEBUG"}
    silence(read_settings(), environment)
    assert environment["PREFECT_LOGGING_LEVEL"] == "DEBUG"
    assert environment["PREFECT_HOME"] == str(tmp_path / ".agentgym/prefect")


def test_the_example_file_shows_every_setting_and_no_other():
    shown = re.findall(r"^(?:# )?AGENTGYM_(\w+)=", EXAMPLE.read_text(), re.MULTILINE)
    assert sorted(shown) == sorted(field.upper() for field in Settings.model_fields)


def test_the_example_file_shows_the_defaults():
    assert read_settings(_env_file=EXAMPLE) == read_settings()


def test_the_workspace_is_made_where_it_is_wanted(tmp_path):
    make_workspace(read_settings().inside(tmp_path / "new/workspace"))
    assert (tmp_path / "new/workspace").is_dir()


def test_a_workspace_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(Unavailable, match=r"must be a folder to write in; .*taken.* Set AGENTGYM_WORKSPACE"):
        make_workspace(read_settings().inside(tmp_path / "taken"))


def test_a_full_disk_is_told_before_anything_starts(tmp_path):
    """Prefect's server does not start there, and was waited for in vain."""
    with pytest.raises(Unavailable, match=r"of free disk to begin with; .* Free some space, or set AGENTGYM_WORKSPACE"):
        make_workspace(read_settings().inside(tmp_path), least_free_bytes=2**80)
