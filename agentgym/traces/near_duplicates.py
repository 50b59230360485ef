"""Conversations that say nearly what an earlier one said: a log that repeats itself teaches and proves less than its size promises.

Conversations are compared by the runs of three words that customer and agent say, with the values masked: numbers, addresses, and what the
calls were given. MinHash (Broder 1997) estimates how much two have in common from 128 numbers each, and locality-sensitive hashing
(Indyk and Motwani 1998) in 16 bands of 8 finds whom to compare with: a pair that has .9 in common is missed once in eight thousand times.

Memory is bounded, at 40 MB: a conversation is compared with the last 65,536, and where two fall into one place of a band the later one
has it.
"""

import re
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from agentgym.traces.trace import Trace

NEAR = 0.9
REMEMBERED_CONVERSATIONS = 2**16
SHINGLE_WORDS = 3
_PERMUTATIONS, _BANDS = 128, 16
_REMEMBERED_WORDS = 2**16
_SEED = 0

Signature = NDArray[np.uint32]

_WORD = re.compile(r"[\w@](?:[\w@.,+'’-]*[\w@])?")
_VALUE = re.compile(r"[\d@]")
_MASK = zlib.crc32(b"\0value")
_ROLES = ("user", "assistant")


def _odd(*shape: int) -> NDArray[np.uint64]:
    """Random odd numbers; multiplying by one of them shuffles what fits 64 bits."""
    return np.random.default_rng([_SEED, *shape]).integers(2**63, size=shape, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


_MIX, _FACTORS, _BAND_MIX = _odd(SHINGLE_WORDS), _odd(_PERMUTATIONS, 1), _odd(_PERMUTATIONS // _BANDS)


class NearDuplicates:
    """Watches conversations go by; `count` says how many were near copies of an earlier one."""

    def __init__(self) -> None:
        self.count = 0
        self._seen = 0
        self._signatures = np.empty((REMEMBERED_CONVERSATIONS, _PERMUTATIONS), np.uint32)
        # The number of the last conversation in each place, counted from 1; 0 for none.
        self._places = np.zeros((_BANDS, REMEMBERED_CONVERSATIONS), np.int64)

    def observe(self, trace: Trace) -> bool:
        """Whether an earlier conversation has an estimated share of .9 of its runs of words in common with this one."""
        return self.observe_signature(signature_of(trace))

    def observe_signature(self, signature: Signature) -> bool:
        """The same, where the signature is known."""
        bands = (signature.reshape(_BANDS, -1) * _BAND_MIX).sum(axis=1, dtype=np.uint64) >> np.uint64(40)
        places = np.arange(_BANDS), bands % np.uint64(REMEMBERED_CONVERSATIONS)
        before = self._places[places]
        # Where a forgotten one had the place, a later one has its signature, which is no worse to compare with.
        known = before[before > 0]
        compared = self._signatures[(np.unique(known) - 1) % REMEMBERED_CONVERSATIONS] if known.size else None
        is_near = compared is not None and bool(np.any(similarity(compared, signature) >= NEAR))
        self._signatures[self._seen % REMEMBERED_CONVERSATIONS] = signature
        self._seen += 1
        self._places[places] = self._seen
        self.count += is_near
        return is_near


def signature_of(trace: Trace, *, masks_values: bool = True) -> Signature:
    """The least of its runs of words under each of 128 random orders, shape (128,).

    masks_values: whether conversations that differ in names and numbers alone are to look alike.
    """
    words = np.array(_hashed_words(trace, masks_values), np.uint64)
    if len(words) < SHINGLE_WORDS:
        words = np.pad(words, (0, SHINGLE_WORDS - len(words)))
    # Each run as one number; one that comes again changes no least.
    shingles = sum((words[place : len(words) - SHINGLE_WORDS + 1 + place] * mix for place, mix in enumerate(_MIX)), np.uint64(0))
    # Multiply-shift (Dietzfelbinger et al. 1997), after the bits above have been mixed into those below.
    mixed = (shingles ^ (shingles >> np.uint64(31))) * _MIX[0]
    # The least is taken before the shift: that leaves the order as it is, and 128 numbers are shifted instead of all.
    least: Signature = (((mixed ^ (mixed >> np.uint64(29))) * _FACTORS).min(axis=1) >> np.uint64(32)).astype(np.uint32)
    return least


def similarity(signatures: NDArray[np.uint32], signature: Signature) -> NDArray[np.float64]:
    """Estimates of the share of runs that each has in common with the signature, of all runs of both (Jaccard), shape (N,).

    signatures: shape (N, 128).   The standard error is .03 at a share of .9.
    """
    shares: NDArray[np.float64] = np.mean(signatures == signature, axis=-1, dtype=np.float64)
    return shares


def _hashed_words(trace: Trace, masks_values: bool) -> list[int]:
    hashed: list[int] = []
    calls = (call for message in trace.messages if masks_values for call in message.tool_calls)
    given = [word for call in calls for word in _words_in(call.arguments) if not _VALUE.search(word)]
    known = {role: _hashes[role, masks_values].__getitem__ for role in _ROLES}
    masked = {role: frozenset(map(known[role], given)) for role in _ROLES}
    for message in trace.messages:
        role = message.role
        if role in known and message.content:
            words = list(map(known[role], message.content.lower().split()))
            hashed += words if masked[role].isdisjoint(words) else (_MASK if word in masked[role] else word for word in words)
    return hashed


class _Hashes(dict[str, int]):
    """Numbers of the words that one side says, as they stand between spaces; signs around them do not count, and values that are masked are
    alike. The words of a log are few, each often said.
    """

    def __init__(self, speaker: str, masks_values: bool) -> None:
        self._speaker, self._masks_values = zlib.crc32(speaker.encode()), masks_values

    def __missing__(self, written: str) -> int:
        if len(self) >= _REMEMBERED_WORDS:
            self.clear()
        is_masked = self._masks_values and _VALUE.search(written)
        word = " ".join(_WORD.findall(written))
        self[written] = number = _MASK if is_masked else zlib.crc32(word.encode(errors="surrogatepass"), self._speaker)
        return number


_hashes = {(speaker, masks): _Hashes(speaker, masks) for speaker in _ROLES for masks in (True, False)}


def _words_in(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.lower().split()
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _words_in(item)
