"""What may be written next, token by token: a grammar made of short texts to choose from and stretches to write freely.

Tokens that leave no choice are not decided, so they cost no computation and have no log-probability: sampler and learner see the same
choices between the same tokens.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]
TokenIds = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Allowed:
    """The tokens that may come next, at least two, in ascending order.

    is_wide: a large set that many choices share; told apart by identity.
    """

    ids: TokenIds
    is_wide: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """One token that was decided.   name: what it is about.   place: of the token in the response.   chosen: its place in `allowed`."""

    name: str
    place: int
    allowed: Allowed
    chosen: int


class Node(Protocol):
    """A place in the grammar."""

    name: str

    def allowed(self) -> "Allowed | int":
        """What may come next; a token where there is no choice."""
        ...

    def after(self, token: int) -> "Landing":
        """Where this token leads."""
        ...


class Landing(NamedTuple):
    """The node after a token, None at the end of the response; and the text that is complete with it."""

    node: Node | None
    said: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """A text among others to go on with.   then: makes the node after it; None at the end of the response."""

    text: str
    tokens: Tokens
    then: Callable[[], Node] | None


class Pieces:
    """One of several pieces; none is the beginning of another."""

    def __init__(self, name: str, pieces: Sequence[Piece], depth: int = 0) -> None:
        self.name, self._depth = name, depth
        self._by_token: dict[int, list[Piece]] = {}
        for piece in pieces:
            self._by_token.setdefault(piece.tokens[depth], []).append(piece)
        self._allowed = _allowed(self._by_token)
        self._next: dict[int, Landing] = {}

    def __contains__(self, token: int) -> bool:
        """Whether a piece goes on with this token."""
        return token in self._by_token

    def allowed(self) -> Allowed | int:
        return self._allowed

    def after(self, token: int) -> Landing:
        if token not in self._next:
            self._next[token] = self._after(token)
        return self._next[token]

    def _after(self, token: int) -> Landing:
        pieces, depth = self._by_token[token], self._depth + 1
        if len(pieces[0].tokens) > depth:
            return Landing(Pieces(self.name, pieces, depth))
        return Landing(_begun(pieces[0].then), pieces[0].text)


@dataclass(frozen=True, eq=False, slots=True)
class Writing:
    """How a stretch is written.

    inside: tokens it may have, the closing one among them.   closing: the token that ends it, which is the first of what follows, or ends
    the response.   most: how many tokens it may have before it is closed.   read: the text of tokens.   then: as of a piece.
    """

    inside: Allowed
    closing: int
    most: int
    read: Callable[[Sequence[int]], str]
    then: Callable[[], Node] | None


class Stretch:
    """Tokens written freely until a closing one."""

    def __init__(self, name: str, writing: Writing, written: Tokens = ()) -> None:
        self.name, self._writing, self._written = name, writing, written

    def allowed(self) -> Allowed | int:
        return self._writing.closing if len(self._written) >= self._writing.most else self._writing.inside

    def after(self, token: int) -> Landing:
        writing = self._writing
        if token != writing.closing:
            return Landing(Stretch(self.name, writing, (*self._written, token)))
        text, node = writing.read(self._written), _begun(writing.then)
        if node is None:
            return Landing(None, text)
        after = node.after(token)
        return Landing(after.node, text + after.said)


_NUMBER_BEGINS = re.compile(r"-?((0|[1-9]\d*)(\.\d*)?)?")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_MOST_DIGITS = 18


class Number:
    """A JSON number written freely, then one of the pieces that may follow.   parts: tokens of digits, signs and points, and their text."""

    def __init__(self, name: str, parts: Mapping[int, str], then: "Pieces", written: str = "") -> None:
        self.name, self._parts, self._then, self._written = name, parts, then, written

    def allowed(self) -> Allowed | int:
        longer = [token for token, text in self._parts.items() if _may_begin_a_number(self._written + text)]
        first = self._then.allowed() if _NUMBER.fullmatch(self._written) else ()
        ids = sorted({*longer, *([first] if isinstance(first, int) else first.ids.tolist() if isinstance(first, Allowed) else [])})
        return ids[0] if len(ids) == 1 else Allowed(np.array(ids, np.int64))

    def after(self, token: int) -> Landing:
        if token in self._parts:
            return Landing(Number(self.name, self._parts, self._then, self._written + self._parts[token]))
        after = self._then.after(token)
        return Landing(after.node, self._written + after.said)


def _may_begin_a_number(text: str) -> bool:
    # A sign or a point is only begun where there is room for a digit after it.
    room = _MOST_DIGITS - (not text[-1:].isdigit())
    return len(text) <= room and _NUMBER_BEGINS.fullmatch(text) is not None


class Either:
    """Pieces, or a stretch that begins with none of their first tokens.   allowed: the first tokens of both."""

    def __init__(self, name: str, pieces: Pieces, stretch: Stretch, allowed: Allowed) -> None:
        self.name, self._pieces, self._stretch, self._allowed = name, pieces, stretch, allowed

    def allowed(self) -> Allowed | int:
        return self._allowed

    def after(self, token: int) -> Landing:
        return self._pieces.after(token) if token in self._pieces else self._stretch.after(token)


class Cursor:
    """A response while it is written.

    tokens: so far.   choices: those of them that were decided.
    """

    def __init__(self, node: Node) -> None:
        self._node: Node | None = node
        self.tokens: list[int] = []
        self.choices: list[Choice] = []
        self._said: list[str] = []
        self._skip_forced()

    @property
    def text(self) -> str:
        """What was said, without the token that ends it."""
        return "".join(self._said)

    @property
    def is_done(self) -> bool:
        return self._node is None

    @property
    def allowed(self) -> Allowed:
        """What the next decision is between."""
        assert self._node is not None, "a response that is done has no next token"
        allowed = self._node.allowed()
        assert isinstance(allowed, Allowed), "forced tokens are skipped"
        return allowed

    def choose(self, place: int) -> None:
        """Takes the token at this place among the allowed ones, and every token that then leaves no choice."""
        assert self._node is not None, "a response that is done has no next token"
        allowed = self.allowed
        self.choices.append(Choice(self._node.name, len(self.tokens), allowed, place))
        self._take(int(allowed.ids[place]))
        self._skip_forced()

    def follow(self, tokens: Sequence[int]) -> bool:
        """Takes these tokens; False where one of them is not allowed."""
        for place, token in enumerate(tokens):
            if place < len(self.tokens):
                if self.tokens[place] != token:
                    return False
                continue
            if self.is_done:
                return False
            found = int(np.searchsorted(self.allowed.ids, token))
            if found == len(self.allowed.ids) or self.allowed.ids[found] != token:
                return False
            self.choose(found)
        return self.is_done and len(self.tokens) == len(tokens)

    def _skip_forced(self) -> None:
        while self._node is not None and isinstance(token := self._node.allowed(), int):
            self._take(token)

    def _take(self, token: int) -> None:
        assert self._node is not None, "a response that is done has no next token"
        self.tokens.append(token)
        self._node, said = self._node.after(token)
        self._said.append(said)


def _begun(then: Callable[[], Node] | None) -> Node | None:
    return None if then is None else then()


def _allowed(by_token: dict[int, list[Piece]]) -> Allowed | int:
    if len(by_token) == 1:
        return next(iter(by_token))
    return Allowed(np.array(sorted(by_token), np.int64))
