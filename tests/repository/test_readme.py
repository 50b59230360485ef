"""The README does not lie: its tree is the tree, its targets can be made, its commands run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = [re.sub(r"\s+# .*", "", line) for language, block in BLOCKS if language == "sh" for line in block.splitlines() if line]
TREE = next(block for _, block in BLOCKS if block.startswith("agentgym/"))
DONE, NOT_YET = 0, 4


@pytest.fixture(scope="module")
def folder_of_a_reader(tmp_path_factory) -> Path:
    """A folder with a log of the customer's own, as the README supposes."""
    folder = tmp_path_factory.mktemp("reader")
    world = CustomerSupport()
    traces = write_logs(world, world.legacy_agent(), count=60, seed=0)
    (folder / "logs.jsonl").write_text("".join(trace.model_dump_json(exclude_defaults=True) + "\n" for trace in traces))
    return folder


def test_every_command_of_the_readme_is_one_that_is_tested():
    assert {command.split()[0] for command in COMMANDS} == {"make", "agentgym"}


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_every_target_of_the_readme_can_be_made(command):
    result = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("agentgym ")])
def test_every_command_of_the_readme_runs(command, folder_of_a_reader):
    """In the order of the README, in one folder. An answer of "not yet" is an answer."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("AGENTGYM_", "PREFECT_"))}
    _, *arguments = shlex.split(command)
    agentgym = Path(sys.executable).parent / "agentgym"
    result = subprocess.run(
        [str(agentgym), *arguments], cwd=folder_of_a_reader, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode in (DONE, NOT_YET), result.stdout + result.stderr


def test_every_line_of_the_readmes_tree_is_there():
    assert not [path for path in _tree_paths() if not (ROOT / path).exists()]


def test_every_folder_is_in_the_readmes_tree(tracked_files):
    inside = {path.relative_to(ROOT).parts for path in tracked_files}
    folders = {parts[0] for parts in inside if len(parts) > 1 and not parts[0].startswith(".")}
    packages = {f"agentgym/{parts[1]}" for parts in inside if parts[0] == "agentgym" and len(parts) > 2}
    assert folders | packages == {path for path in _tree_paths() if (ROOT / path).is_dir()}


def _tree_paths() -> list[str]:
    """Paths in the tree; what is indented stands inside the last line that is not."""
    paths: list[str] = []
    parent = ""
    for line in TREE.splitlines():
        name = line.split()[0].rstrip("/")
        parent = parent if line.startswith(" ") else name
        paths.append(f"{parent}/{name}" if line.startswith(" ") else name)
    return paths
