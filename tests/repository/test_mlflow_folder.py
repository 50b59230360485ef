"""The folder `mlflow/` has the name of the package; a Python file in it would take the package's place."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_mlflow_folder_holds_no_python_file():
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_mlflow_imported_from_the_root_is_the_real_package():
    code = "import mlflow; assert hasattr(mlflow, 'set_tracking_uri'), mlflow.__path__"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
