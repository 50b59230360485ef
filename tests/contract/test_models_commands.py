"""`agentgym models` as somebody types it, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentgym.cli.models import version_to_leave
from agentgym.errors import InvalidInput
from agentgym.registry import Lineage, ModelRegistry
from agentgym.store import ArtifactRef

ADDRESS = ("--base-url", "http://127.0.0.1:9/v1")


def told(uri: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `agentgym models …` on this MLflow."""
    environment = {**os.environ, "AGENTGYM_WORKSPACE": str(Path(uri.removeprefix("sqlite:///")).parent)}
    command = [sys.executable, "-c", "from agentgym.cli import main; main()", "models", *arguments, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout)


def test_an_upstream_is_registered_and_made_champion_by_its_reason(uri: str) -> None:
    code, answer = told(uri, "upstream", *ADDRESS, "--model", "legacy", "--key-env", "LEGACY_KEY", "--as-champion", "It runs today.")
    champion = ModelRegistry(uri, "agent").resolve("@champion")
    assert (code, answer["is_champion"], answer["version"]["checkpoint_digest"]) == (0, True, champion.checkpoint.digest)
    assert (champion.is_upstream, champion.description) == (True, "legacy at http://127.0.0.1:9/v1")
    assert ModelRegistry(uri, "agent").history()[0].reason == "It runs today."


def test_an_upstream_is_only_registered_unless_a_reason_makes_it_champion(uri: str) -> None:
    code, answer = told(uri, "upstream", *ADDRESS, "--model", "legacy")
    assert (code, answer["is_champion"], ModelRegistry(uri, "agent").history()) == (0, False, ())


def test_a_key_in_the_place_of_its_variable_is_bad_input_and_untold(uri: str) -> None:
    code, answer = told(uri, "upstream", *ADDRESS, "--model", "legacy", "--key-env", "sk-very-secret")
    assert (code, answer["error"]["kind"]) == (2, "InvalidInput")
    assert "secret" not in answer["error"]["message"]


def test_a_rollback_that_is_run_again_changes_nothing_and_is_taken_back_only_when_told_to(uri: str) -> None:
    """A rollback that was interrupted is run again; once, that made the bad champion champion again."""
    registry = ModelRegistry(uri, "agent")
    for number in (1, 2):
        checkpoint = ArtifactRef(uri=f"file:///checkpoints/{number}", digest=str(number) * 64)
        version = registry.register(checkpoint, lineage=Lineage(policy="upstream", code_version="test"))
        registry.bootstrap(version, "It runs today.")

    def roll_back(*, is_undo: bool) -> int:
        _, left = version_to_leave(registry, is_undo=is_undo)
        return registry.rollback("Customers complain.", from_version=left).version

    assert [roll_back(is_undo=is_undo) for is_undo in (False, False, True)] == [1, 1, 2]


def test_only_a_rollback_can_be_undone(uri: str) -> None:
    with pytest.raises(InvalidInput, match="Only a rollback can be undone"):
        version_to_leave(ModelRegistry(uri, "agent"), is_undo=True)
