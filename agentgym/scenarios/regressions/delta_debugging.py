"""Delta debugging: of something that fails, the least that still does.

Zeller and Hildebrandt 2002, "Simplifying and Isolating Failure-Inducing Input", section 3, algorithm ddmin: parts and complements of a
list of units are tried, coarse parts first; what is left is 1-minimal, so that it fails no more when any single unit is taken out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Unit = TypeVar("Unit")
MOST_TESTS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Minimised(Generic[Unit]):
    """units: what still fails.   tests: how often it was tried.   is_minimal: whether no single unit can go; not known at the bound."""

    units: tuple[Unit, ...]
    tests: int
    is_minimal: bool


def ddmin(units: Sequence[Unit], fails: Callable[[Sequence[Unit]], bool], *, most_tests: int = MOST_TESTS) -> Minimised[Unit]:
    """The least of these units, in their order, that still fails; all of them together are known to.

    fails: asked once for each choice of units, at most `most_tests` times.   Deterministic where `fails` is.
    """
    test = _Remembering(fails, most_tests)
    kept, parts = tuple(range(len(units))), 2
    while len(kept) > 1 and not test.is_spent:
        cuts = [kept[at * len(kept) // parts : (at + 1) * len(kept) // parts] for at in range(parts)]
        complements = [tuple(unit for unit in kept if unit not in set(cut)) for cut in cuts]
        part = next((cut for cut in cuts if test(units, cut)), None)
        if part is not None:
            kept, parts = part, 2
            continue
        complement = next((rest for rest in complements if test(units, rest)), None) if parts > 2 else None
        if complement is not None:
            kept, parts = complement, max(parts - 1, 2)
        elif parts < len(kept):
            parts = min(len(kept), 2 * parts)
        else:
            break
    if len(kept) == 1 and test(units, ()):
        kept = ()
    return Minimised(units=tuple(units[place] for place in kept), tests=test.made, is_minimal=not test.is_spent)


class _Remembering(Generic[Unit]):
    """The test, which is not made twice for one choice, nor beyond the bound."""

    def __init__(self, fails: Callable[[Sequence[Unit]], bool], most_tests: int) -> None:
        self._fails, self._most_tests = fails, most_tests
        self._known: dict[tuple[int, ...], bool] = {}

    @property
    def made(self) -> int:
        return len(self._known)

    @property
    def is_spent(self) -> bool:
        return self.made >= self._most_tests

    def __call__(self, units: Sequence[Unit], places: tuple[int, ...]) -> bool:
        if places not in self._known:
            if self.is_spent:
                return False
            self._known[places] = self._fails([units[place] for place in places])
        return self._known[places]
