import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False)


def test_every_import_contract_is_kept():
    result = _lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("agentgym/episode.py", "agentgym.reward"),
        ("agentgym/environments/case.py", "agentgym.policies"),
        ("agentgym/training/result.py", "agentgym.settings"),
        ("agentgym/training/result.py", "flows"),
        ("agentgym/training/result.py", "mlflow"),
        ("agentgym/evaluation/__init__.py", "prefect"),
        ("agentgym/evaluation/__init__.py", "ray"),
        ("agentgym/policies/__init__.py", "great_expectations"),
        ("flows/__init__.py", "ray_jobs"),
        ("tasks/__init__.py", "ray_jobs"),
        ("tasks/__init__.py", "flows"),
        ("ray_jobs/__init__.py", "agentgym.cli"),
    ],
)
def test_a_contract_notices_a_forbidden_import(module, forbidden, copy_of_the_code):
    file = copy_of_the_code / module
    written = file.read_text()
    file.write_text(f"{written}\nimport {forbidden}\n")
    try:
        result = _lint_imports(copy_of_the_code)
    finally:
        file.write_text(written)
    assert result.returncode == 1, result.stdout
    assert "BROKEN" in result.stdout


def test_every_part_of_the_library_has_its_layer():
    layers = {name.strip("() ") for contract in CONTRACTS["contracts"] for layer in contract.get("layers", ()) for name in layer.split("|")}
    parts = {f"agentgym.{path.stem}" for path in (ROOT / "agentgym").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    outside = {"agentgym.__init__", "agentgym.settings"}
    assert parts - layers == outside
