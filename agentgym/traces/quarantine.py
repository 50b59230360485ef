"""What is kept out of a log, each with its reasons; the conversations themselves stay where they are."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from agentgym.errors import Unavailable
from agentgym.traces.importers import RejectedLine

SHOWN = 20
# Reasons that repeat what stands in the log could be as many as its lines.
MOST_REASONS = 1_000
OTHER_REASONS = "Other reasons"
_INDEX = re.compile(r"\.\d+\b")


def quarantined(line: RejectedLine) -> bytes:
    """A line of JSON: source, line, conversation_id and reasons."""
    told = {"source": line.source, "line": line.line, "conversation_id": line.conversation_id, "reasons": line.reasons}
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


class Quarantine:
    """Lines that are kept out, in a temporary file. reasons: conversations by the rule they broke.   first: some of them, to be shown."""

    def __init__(self) -> None:
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self.first: list[RejectedLine] = []
        # Small ones never reach the disk.
        self._file = tempfile.SpooledTemporaryFile(max_size=1 << 20, prefix="agentgym-")  # noqa: SIM115 - closed with us

    def __del__(self) -> None:
        self._file.close()

    def extend(self, lines: Iterable[RejectedLine]) -> None:
        """Raises Unavailable when temporary files have no room."""
        for line in lines:
            self.count += 1
            self.first += [line] if self.count <= SHOWN else []
            for rule in {_rule(reason) for reason in line.reasons}:
                self.reasons[rule if rule in self.reasons or len(self.reasons) < MOST_REASONS else OTHER_REASONS] += 1
            try:
                self._file.write(quarantined(line))
            except OSError as error:
                raise Unavailable(f"Temporary files need room; {error}. Make some, or set TMPDIR to where there is.") from error

    def __iter__(self) -> Iterator[RejectedLine]:
        self._file.seek(0)
        for line in self._file:
            told = orjson.loads(line)
            yield RejectedLine(**{**told, "reasons": tuple(told["reasons"])})

    def write(self, path: Path) -> None:
        """As JSON lines, after what stands in the file."""
        self._file.seek(0)
        with path.open("ab") as file:
            file.writelines(self._file)


def _rule(reason: str) -> str:
    """The rule of a reason, without where and with what it was broken."""
    return _INDEX.sub("", reason.partition(";")[0].removesuffix("."))
