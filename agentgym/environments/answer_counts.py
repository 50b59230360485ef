"""On what basis calls were answered, counted."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerCounts:
    """Calls answered on each basis of a recorded mock; counts of episodes add up."""

    exact: int = 0
    consistent: int = 0
    nearest: int = 0
    unknown: int = 0

    @property
    def calls(self) -> int:
        return self.exact + self.consistent + self.nearest + self.unknown

    def __add__(self, other: "AnswerCounts") -> "AnswerCounts":
        return AnswerCounts(
            exact=self.exact + other.exact,
            consistent=self.consistent + other.consistent,
            nearest=self.nearest + other.nearest,
            unknown=self.unknown + other.unknown,
        )
