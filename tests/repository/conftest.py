import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def copy_of_the_code(tmp_path_factory) -> Path:
    """The packages and their contracts in a folder of their own, where a test may break them."""
    folder = tmp_path_factory.mktemp("repository")
    for package in ("agentgym", "flows", "tasks", "ray_jobs"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture(scope="session")
def tracked_files() -> list[Path]:
    """Every file of the repository: what git tracks, or, without git, what lies there and is not ignored by its name."""
    listed = shutil.which("git") and subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed and listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    made = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()} | {".git"}
    inside = (path for path in ROOT.rglob("*") if not made & set(path.relative_to(ROOT).parts))
    return [path for path in inside if path.is_file() and ".egg-info" not in str(path)]
