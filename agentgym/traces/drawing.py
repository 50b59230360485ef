"""Some conversations of a log, drawn from all over it, without holding them in memory."""

import heapq
import pickle
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np

from agentgym.tools import Tool
from agentgym.traces.importers import Record, RejectedLine
from agentgym.traces.importers.gathering import temporary_database, with_room
from agentgym.traces.preparation import Item


def drawn(items: Iterable[Item], limit: int) -> Iterator[Item]:
    """`limit` of the items, each as likely as any other, in the order of the log.

    Items are drawn by their place: equal logs and limits give the same ones, and a larger limit keeps those of a smaller one. They wait in
    a temporary file. Raises Unavailable when that has no room.
    """
    rng = np.random.default_rng(0)
    # The highest lot is on top, which goes when a lower one comes.
    lots: list[tuple[float, int]] = []
    scopes = _Scopes()
    with with_room(), closing(temporary_database()) as database:
        database.execute("CREATE TABLE item (place INTEGER PRIMARY KEY, content BLOB)")
        for place, item in enumerate(items):
            lot = (-rng.random(), -place)
            if len(lots) == limit:
                gone = heapq.heappushpop(lots, lot)
                database.execute("DELETE FROM item WHERE place = ?", (-gone[1],))
            else:
                gone = None
                heapq.heappush(lots, lot)
            if gone != lot:
                database.execute("INSERT INTO item VALUES (?, ?)", (place, scopes.pack(item)))
        for (content,) in database.execute("SELECT content FROM item ORDER BY place"):
            yield scopes.unpack(content)


class _Scopes:
    """Items as bytes, without their tools: those are shared by many conversations, and stay so."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, ...], int] = {}
        self._tools: list[tuple[Tool, ...]] = []

    def pack(self, item: Item) -> bytes:
        if not isinstance(item, Record):
            return pickle.dumps((item, None), protocol=5)
        number = self._numbers.setdefault(tuple(map(id, item.tools)), len(self._tools))
        if number == len(self._tools):
            # Kept, so that their ids stay their own.
            self._tools.append(item.tools)
        return pickle.dumps((replace(item, tools=()), number), protocol=5)

    def unpack(self, content: bytes) -> Item:
        item: Item
        item, number = pickle.loads(content)
        return item if number is None or isinstance(item, RejectedLine) else replace(item, tools=self._tools[number])
