"""How fast a log becomes a snapshot, and in how much memory, beside a naive pass with pandas. Prints one JSON object.

A log of `--conversations` from a seed (24 messages and 3 calls each), one twice as long, and the real SGD dialogues repeated with new ids
and one word more in the first sentence, for copies are quarantined. Each is validated, redacted, split and written by
`agentgym.traces.ingestion`. The naive side gets `--naive` conversations of the same log, because it holds all of them in memory.

Seconds are by the clock, so they say little on a busy machine: the load is told, and conversations a CPU second beside it.
"""

import argparse
import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SIDES = Path(__file__).parent / "trace_sides"
SGD = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "sgd" / "train"
DIALOGUES_IN_A_FILE = 1_500


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--conversations", type=int, default=100_000)
    parser.add_argument("--naive", type=int, default=5_000)
    parser.add_argument("--sgd", type=int, default=30_000)
    parser.add_argument("--processes", type=int)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory() as name:
        folder = Path(name)
        once, twice = (ingested(folder, count, given.processes) for count in (given.conversations, 2 * given.conversations))
        naive = run("naive.py", written(folder, given.naive), folder / "naive.parquet")
        sgd = ingested_sgd(folder, given.sgd, given.processes) if SGD.is_dir() and given.sgd else None
    figures = {
        "conversations_per_second": round(once["per_second"]),
        "conversations_per_cpu_second": round(once["per_cpu_second"]),
        "peak_memory_bytes": once["peak_memory_bytes"],
        "peak_memory_bytes_at_twice_as_many": twice["peak_memory_bytes"],
        "once": once,
        "twice": twice,
        "naive": naive,
        "sgd": sgd,
    }
    ratios = {
        "vs_naive": once["per_second"] / naive["per_second"],
        "vs_naive_per_cpu_second": once["per_cpu_second"] / naive["per_cpu_second"],
        "vs_naive_memory_per_conversation": naive["peak_memory_bytes"] / given.naive / (once["peak_memory_bytes"] / given.conversations),
        "memory_at_once_vs_at_twice_as_many": once["peak_memory_bytes"] / twice["peak_memory_bytes"],
    }
    machine = {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": load,
        "load_after": os.getloadavg()[0],
    }
    print(json.dumps({"ratios": ratios, "figures": figures, "machine": machine}, indent=2))


def written(folder: Path, conversations: int) -> Path:
    path = folder / f"log-{conversations}.jsonl"
    subprocess.run([sys.executable, SIDES / "log.py", path, str(conversations)], check=True)
    return path


def ingested(folder: Path, conversations: int, processes: int | None) -> dict[str, Any]:
    path = written(folder, conversations)
    measured = run("ours.py", path, folder / "store", processes=processes)
    path.unlink()
    shutil.rmtree(folder / "store")
    return measured


def ingested_sgd(folder: Path, conversations: int, processes: int | None) -> dict[str, Any]:
    log = folder / "sgd"
    log.mkdir()
    shutil.copy(SGD / "schema.json.gz", log)
    for number, dialogues in enumerate(repeated(conversations)):
        (log / f"dialogues_{number:03d}.json").write_text(json.dumps(dialogues))
    return run("ours.py", log, folder / "store", format="sgd", processes=processes)


def repeated(count: int) -> Iterator[list[dict[str, Any]]]:
    """The dialogues again and again, until there are `count`."""
    dialogues = [
        dialogue for file in sorted(SGD.glob("dialogues_*.json.gz")) for dialogue in json.loads(gzip.decompress(file.read_bytes()))
    ]
    for begin in range(0, count, DIALOGUES_IN_A_FILE):
        numbers = range(begin, min(count, begin + DIALOGUES_IN_A_FILE))
        yield [renamed(dialogues[number % len(dialogues)], number // len(dialogues)) for number in numbers]


def renamed(dialogue: dict[str, Any], time: int) -> dict[str, Any]:
    first, *rest = dialogue["turns"]
    said = {**first, "utterance": f"{first['utterance']} {'again ' * (time > 0)}{time or ''}".strip()}
    return {**dialogue, "dialogue_id": f"{time}-{dialogue['dialogue_id']}", "turns": [said, *rest]}


def run(side: str, log: Path, target: Path, **options: Any) -> dict[str, Any]:
    asked = [part for name, value in options.items() if value is not None for part in (f"--{name}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GX_ANALYTICS_ENABLED": "false"}
    done = subprocess.run(
        [sys.executable, SIDES / side, log, target, *asked], env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    measured["per_second"] = measured["conversations"] / measured["seconds"]
    measured["per_cpu_second"] = measured["conversations"] / measured["cpu_seconds"]
    print(f"{side} {log.name}: {measured}", file=sys.stderr)
    return measured


if __name__ == "__main__":
    main()
