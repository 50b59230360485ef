"""Reads a million broken logs with every importer: none crashes, and no conversation is lost. Prints one JSON object.

Three ways to make them: broken at random from a seed, in their JSON, cells and bytes; made from nothing by hypothesis; and by Atheris
(coverage-guided), where it can be installed into an environment of its own under build/. `--inputs` is the number in all; `--guided` and
`--generated` are the shares of Atheris and of hypothesis.
The ratio is inputs without a crash against the million that is asked for.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SIDES = Path(__file__).parent / "fuzz_sides"
ROOT = Path(__file__).parents[2]
ATHERIS = "3.0.0"
ASKED_FOR = 1_000_000
# As the seeds name them; SQL gets a tenth of each other one.
FORMATS, GENERATED_FORMATS = 12.1, 11


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=ASKED_FOR)
    parser.add_argument("--guided", type=float, default=0.2)
    parser.add_argument("--generated", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    given = parser.parse_args()
    started = time.perf_counter()
    python = atheris_python() if given.guided else None
    guided = run_guided(python, round(given.inputs * given.guided), given.seed) if python else {"inputs": 0, "crashes": []}
    generated = run_side("generated.py", given.inputs * given.generated / GENERATED_FORMATS, given.seed, given.processes)
    left = given.inputs - guided["inputs"] - generated["inputs"]
    mutated = run_side("mutated.py", left / FORMATS, given.seed, given.processes)
    crashes = [crash for side in (guided, generated, mutated) for crash in side.pop("crashes")]
    inputs = guided["inputs"] + generated["inputs"] + mutated["inputs"]
    figures = {
        "inputs": inputs,
        "crashes": len(crashes),
        "guided": guided,
        "generated": generated,
        "mutated": mutated,
        "seconds": round(time.perf_counter() - started),
    }
    result = {
        "ratios": {"sound_inputs": (inputs - len(crashes)) / ASKED_FOR},
        "figures": figures | {"first_crashes": crashes[:20]},
        "machine": {"platform": platform.platform(), "python": platform.python_version(), "atheris": ATHERIS if python else None},
    }
    print(json.dumps(result, indent=1))
    sys.exit(1 if crashes else 0)


def run_side(side: str, each: float, seed: int, processes: int) -> dict[str, Any]:
    """each: inputs of each format, shared between the processes."""
    share = max(10, round(each / processes))
    commands = [[sys.executable, SIDES / side, "--inputs", str(share), "--seed", str(seed + place)] for place in range(processes)]
    with ThreadPoolExecutor(processes) as pool:
        told = list(pool.map(lambda command: json.loads(ran(command).stdout), commands))
    counts = [count for side in told for count in side["counts"].values()]
    total = {name: sum(count.get(name, 0) for count in counts) for name in ("inputs", "read", "typed", "untyped", "refused")}
    return total | {"crashes": [crash for side in told for crash in side["crashes"]]}


def run_guided(python: Path, inputs: int, seed: int) -> dict[str, Any]:
    folder = ROOT / "bench-results" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("crash-*"):
        old.unlink()
    command = [python, SIDES / "atheris_side.py", folder / "corpus", "--inputs", str(inputs), "--seed", str(seed + 1)]
    done = ran(command, stderr=subprocess.PIPE)
    runs = re.findall(r"^(?:Done (\d+) runs|#(\d+))", done.stderr, re.MULTILINE)
    covered = re.findall(r"cov: (\d+)", done.stderr)
    crashes = [] if done.returncode == 0 else [{"format": "guided", "error": done.stderr[-3000:], "content": str(folder)}]
    return {
        "inputs": max((int(first or second) for first, second in runs), default=0),
        "edges_covered": int(covered[-1]) if covered else 0,
        "crashes": crashes,
    }


def ran(command: list[Any], **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False, **options)


def atheris_python() -> Path | None:
    """The Python of an environment with Atheris and the project's packages, made when first needed; None where it is not to be had."""
    folder = ROOT / "build" / "atheris"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    installed = subprocess.run([python, "-m", "pip", "install", "--quiet", f"atheris=={ATHERIS}"], stdout=sys.stderr, check=False)
    if installed.returncode:
        print("Atheris cannot be installed here: all inputs are broken at random.", file=sys.stderr)
        return None
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "project.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return python


if __name__ == "__main__":
    main()
