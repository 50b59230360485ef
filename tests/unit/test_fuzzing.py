"""A few hundred of the million logs that `make bench-fuzz` breaks: none crashes an importer, none loses a conversation."""

import json
import subprocess
import sys
from pathlib import Path

MUTATED = Path(__file__).parents[1] / "benchmarks" / "fuzz_sides" / "mutated.py"


def test_broken_logs_of_every_format_are_refused_or_every_conversation_is_accounted_for() -> None:
    done = subprocess.run(
        [sys.executable, MUTATED, "--inputs", "40", "--seed", "7"], capture_output=True, text=True, check=True, timeout=300
    )
    told = json.loads(done.stdout)
    assert told["crashes"] == []
    assert len(told["counts"]) == 13
    for name, counts in told["counts"].items():
        assert counts["inputs"] == (4 if name == "sql" else 40)
        assert counts["read"] == counts["typed"] + counts["untyped"] > 0
