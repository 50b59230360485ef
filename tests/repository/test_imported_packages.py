import ast
import importlib.metadata
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"agentgym", "flows", "tasks", "ray_jobs"}


def test_every_imported_package_is_asked_for():
    """A package that merely came along with another may leave with it."""
    asked = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]} | {"botocore"}  # boto3's other half
    providers = importlib.metadata.packages_distributions()
    imported = {name for package in OURS for file in (ROOT / package).rglob("*.py") for name in _imported(file)}
    third_party = imported - OURS - set(sys.stdlib_module_names)
    assert not {name for name in third_party if not {canonicalize_name(found) for found in providers.get(name, ())} & asked}


def _imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
