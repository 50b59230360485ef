"""Reads logs that were broken at random from a seed, in every format. Prints one JSON object.

Of each hundred inputs some seventy are broken in their JSON or cells, around two conversations that nobody touched and that must be read as
they are; twenty in their bytes; some are read as another format, or compressed and cut.
"""

import argparse
import csv
import gzip
import io
import json
import sqlite3
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
from judge import judge, judge_wholly
from mutations import as_text, edge, garbled, mangled
from seeds import COLUMNS, HEADER, KEPT, MAPPING, MIDDLE, MORE_COLUMNS, READ_AS, SGD_SCHEMA, VALUES, kept_ids, rows

WHOLLY_EACH = 1_000
KEPT_CRASHES = 20
IN_TABLES = 0.1


class Fuzzer:
    """One format's inputs, one after another; `counts` and `crashes` say what came of them."""

    def __init__(self, seed: str, folder: Path, rng: Random) -> None:
        self.counts: Counter[str] = Counter()
        self.crashes: list[dict[str, str]] = []
        self._seed, self._rng, self._format = seed, rng, READ_AS.get(seed, seed)
        self._folder = folder / "logs"
        self._folder.mkdir()
        (self._folder / "schema.json").write_text(json.dumps(SGD_SCHEMA))
        (folder / "mapping.json").write_text(json.dumps(MAPPING))
        self._mapping = folder / "mapping.json" if seed == "csv" else None
        self._suffix = ".csv" if seed == "csv" else ".json"

    def run(self, inputs: int) -> None:
        for number in range(inputs):
            log, kept = self._folder / f"log{self._suffix}", ()
            way = self._rng.random()
            if way < 0.7 or self._seed == "sql":
                kept = self._write_mangled(log)
            else:
                log.write_bytes(self._broken_bytes(way))
            self._judge(log, kept, is_whole=number % WHOLLY_EACH == 0)

    def _judge(self, log: Path, kept: tuple[str, ...], *, is_whole: bool) -> None:
        format = self._format if self._rng.random() < 0.97 or kept else self._rng.choice([READ_AS.get(name, name) for name in VALUES])
        mapping = self._mapping if format == "csv" else None
        self.counts["inputs"] += 1
        try:
            found = judge(log, format, mapping=mapping, kept=kept, in_tables=self._rng.random() < IN_TABLES)
            if is_whole:
                judge_wholly(log, format, mapping=mapping)
        except Exception as error:
            self._note(error, log)
            return
        self.counts.update({"read": found.read, "typed": found.typed, "untyped": found.untyped, "refused": int(found.is_refused)})

    def _note(self, error: Exception, log: Path) -> None:
        self.counts["crashes"] += 1
        told = "".join(traceback.format_exception(error)[-3:])
        if len(self.crashes) < KEPT_CRASHES:
            content = log.read_bytes()[:4000].decode("latin-1")
            self.crashes.append({"format": self._format, "error": repr(error)[:500], "where": told[-1500:], "content": content})

    def _write_mangled(self, log: Path) -> tuple[str, ...]:
        """Two whole conversations around a broken one; gives what the two are called, where the file keeps them apart from it."""
        first, last = KEPT
        if self._seed == "csv":
            log.write_bytes(self.csv_bytes([*rows(first), *self._mangled_rows(), *rows(last)]))
            return ()
        if self._seed == "sql":
            self._write_database(log)
            return ()
        make = VALUES[self._seed]
        values = [*make(first), *mangled(make(MIDDLE), self._rng), *make(last)]
        written = [as_text(value) for value in values]
        if self._seed in ("json", "sgd"):
            # Behind a value that is none, nothing of an array can be read.
            log.write_text(f"[{','.join(written)}]")
            return ()
        log.write_text("\n".join(written))
        return kept_ids(self._seed)

    def _broken_bytes(self, way: float) -> bytes:
        content, other = self._whole(self._seed), self._whole(self._rng.choice([*VALUES, "csv"]))
        if way > 0.97:
            return other
        if way > 0.95:
            packed = gzip.compress(content, 1) if way > 0.96 else pyarrow.compress(content, codec="zstd", asbytes=True)
            return garbled(packed, self._rng, other) if self._rng.random() < 0.5 else packed[: self._rng.randrange(len(packed))]
        return garbled(content, self._rng, other)

    def _whole(self, seed: str) -> bytes:
        if seed == "csv":
            return self.csv_bytes([row for name in (KEPT[0], MIDDLE, KEPT[1]) for row in rows(name)])
        return "\n".join(as_text(value) for name in (KEPT[0], MIDDLE, KEPT[1]) for value in VALUES[seed](name)).encode()

    def _mangled_rows(self) -> list[list[Any]]:
        changed = rows(MIDDLE)
        for _ in range(self._rng.randint(1, 4)):
            row = self._rng.choice(changed)
            row[self._rng.randrange(len(row))] = edge(self._rng)
        return changed

    @staticmethod
    def csv_bytes(cells: list[list[Any]]) -> bytes:
        written = io.StringIO()
        csv.writer(written).writerows([HEADER, *([cell if isinstance(cell, str) else as_text(cell) for cell in row] for row in cells)])
        return written.getvalue().encode(errors="surrogatepass")

    def _write_database(self, log: Path) -> None:
        database = self._folder / "log.db"
        database.unlink(missing_ok=True)
        with closing(sqlite3.connect(database)) as connection:
            connection.execute(f"CREATE TABLE message ({', '.join(HEADER)})")
            cells = [[_cell(cell) for cell in row] for row in (*rows(KEPT[0]), *self._mangled_rows(), *rows(KEPT[1]))]
            connection.executemany(f"INSERT INTO message VALUES ({', '.join('?' * len(HEADER))})", cells)
            connection.commit()
        whole = {"url": f"sqlite:///{database}", "table": "message", "columns": COLUMNS | MORE_COLUMNS, "roles": MAPPING["roles"]}
        log.write_text(as_text(mangled([whole], self._rng)[0] if self._rng.random() < 0.3 else whole))


def _cell(value: Any) -> Any:
    """What SQLite has a form for."""
    if isinstance(value, str):
        return value if value.isascii() or "\ud800" not in value else value.encode(errors="surrogatepass")
    is_plain = value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)
    return value if is_plain else as_text(value)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1000, help="of each format; of SQL a tenth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="*", default=[*VALUES, "csv", "sql"])
    given = parser.parse_args()
    counts: dict[str, dict[str, int]] = {}
    crashes: list[dict[str, str]] = []
    started = time.process_time()
    memory = Path("/dev/shm")
    for place, name in enumerate(given.formats):
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            fuzzer = Fuzzer(name, Path(folder), Random(f"{given.seed} {place}"))
            fuzzer.run(given.inputs // 10 if name == "sql" else given.inputs)
            counts[name] = dict(fuzzer.counts)
            crashes += fuzzer.crashes
    print(json.dumps({"counts": counts, "crashes": crashes, "cpu_seconds": time.process_time() - started}))


if __name__ == "__main__":
    main()
