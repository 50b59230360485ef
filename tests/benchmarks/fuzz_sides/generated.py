"""Reads logs that hypothesis makes from nothing: JSON of the names and texts that a format uses, in any shape. Prints one JSON object."""

import argparse
import json
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from judge import judge
from mutations import EDGES, as_text
from seeds import READ_AS, SGD_SCHEMA, VALUES

PHASES = (Phase.generate, Phase.shrink)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=100, help="of each format")
    parser.add_argument("--seed", type=int, default=0)
    given_options = parser.parse_args()
    counts: dict[str, dict[str, int]] = {}
    crashes: list[dict[str, str]] = []
    started = time.process_time()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        (Path(folder) / "schema.json").write_text(json.dumps(SGD_SCHEMA))
        for name in VALUES:
            counts[name], found = run(name, Path(folder) / "log.json", given_options.inputs, given_options.seed)
            crashes += found
    print(json.dumps({"counts": counts, "crashes": crashes, "cpu_seconds": time.process_time() - started}))


def run(name: str, log: Path, inputs: int, number: int) -> tuple[dict[str, int], list[dict[str, str]]]:
    """How many inputs of one format were read, and the smallest one that raises what it should not, if any."""
    counts = {"inputs": 0, "read": 0, "typed": 0, "untyped": 0, "refused": 0}

    @seed(number)
    @settings(max_examples=inputs, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=PHASES)
    @given(st.lists(shapes(name), max_size=4))
    def read(values: list[Any]) -> None:
        log.write_text("\n".join(map(as_text, values)))
        counts["inputs"] += 1
        found = judge(log, READ_AS.get(name, name), in_tables=False)
        counts.update({key: counts[key] + int(getattr(found, key)) for key in ("read", "typed", "untyped")})
        counts["refused"] += found.is_refused

    try:
        read()
    except Exception as error:
        told = "".join(traceback.format_exception(error)[-3:])
        return counts, [{"format": name, "error": repr(error)[:500], "where": told[-1500:], "content": log.read_text()[:4000]}]
    return counts, []


def shapes(name: str) -> st.SearchStrategy[Any]:
    """Values made of what the format's own example is made of, and of the edges of every parser."""
    (example, *_) = VALUES[name]("c1")
    names = sorted({key for key, _ in _items(example) if isinstance(key, str)})
    texts = [value for _, value in _items(example) if isinstance(value, str)]
    plain = st.sampled_from([*texts, *EDGES]) | st.floats() | st.integers() | st.text(max_size=8)
    inner = st.recursive(plain, lambda part: st.lists(part, max_size=4) | _objects(names, part), max_leaves=12)
    return _objects(names, inner) | st.builds(lambda changed: {**example, **changed}, _objects(sorted(example), inner)) | inner


def _objects(names: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=3), values, max_size=6)


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield key, item
        yield from _items(item)


if __name__ == "__main__":
    main()
