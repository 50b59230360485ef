"""Reads logs that Atheris makes: it follows which code a log reaches, and changes what reached new code.

It runs in an environment of its own, which sees the project's packages. The first byte of an input says which format the others are read
as. An input that raises anything is kept beside the corpus, and ends the run with another exit code than 0.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["agentgym.traces"]):
    from judge import judge

from mutated import Fuzzer, as_text
from seeds import MAPPING, READ_AS, SGD_SCHEMA, VALUES, rows

FORMATS = [*VALUES, "csv"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.corpus.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(FORMATS):
        (given.corpus / name).write_bytes(bytes([place]) + whole(name))
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "logs"
    folder.mkdir()
    (folder / "schema.json").write_text(json.dumps(SGD_SCHEMA))
    mapping = folder.parent / "mapping.json"
    mapping.write_text(json.dumps(MAPPING))
    log, csv_log = folder / "log.json", folder / "log.csv"

    def read(content: bytes) -> None:
        if content:
            seed = FORMATS[content[0] % len(FORMATS)]
            path = csv_log if seed == "csv" else log
            path.write_bytes(content[1:])
            judge(path, READ_AS.get(seed, seed), mapping=mapping if seed == "csv" else None, in_tables=False)

    options = [
        f"-runs={given.inputs}",
        f"-seed={given.seed}",
        "-max_len=6000",
        "-timeout=60",
        f"-artifact_prefix={given.corpus.parent}/crash-",
    ]
    os.environ["PYTHONUNBUFFERED"] = "1"
    atheris.Setup([sys.argv[0], str(given.corpus), *options], read)
    atheris.Fuzz()


def whole(name: str) -> bytes:
    if name == "csv":
        return Fuzzer.csv_bytes(rows("c1"))
    return "\n".join(as_text(value) for value in VALUES[name]("c1")).encode()


if __name__ == "__main__":
    main()
