"""Who is served by which version: a pure function of the unit, the salt and the weights.

Every replica computes the same split by itself, so nothing is asked or stored before an answer. A unit is a customer, else a conversation:
it stays with its version as long as the weights do, and as few as possible move when they change.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentgym.errors import InvalidInput

_SUM_TOLERANCE = 1e-9


def _shares(weights: Mapping[str, float]) -> Mapping[str, float]:
    total = math.fsum(weights.values())
    wrong = {name: weight for name, weight in weights.items() if not (math.isfinite(weight) and weight >= 0)}
    if wrong:
        raise InvalidInput(f"Variant weights must be finite and at least 0; got {wrong!r}. Give every variant its share of the traffic.")
    if abs(total - 1) > _SUM_TOLERANCE:
        raise InvalidInput(
            f"Variant weights must sum to 1; got {total:g} from {dict(weights)!r}. "
            "Give every variant its share, or use Allocation.even(variants)."
        )
    return dict(sorted(weights.items()))


class Allocation(BaseModel):
    """How traffic is split.

    weights: share of the units by variant, in 0–1, together 1; a variant with 0 is loaded but gets nobody.   salt: another one deals
    everybody anew, so that two tests do not share their halves.
    Raises InvalidInput for weights that are negative, not finite, or do not sum to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Annotated[Mapping[str, float], Field(min_length=1), AfterValidator(_shares)]
    salt: str = ""

    @classmethod
    def even(cls, variants: Sequence[str], *, salt: str = "") -> Self:
        """The same share for each."""
        return cls(weights={variant: 1 / len(variants) for variant in variants}, salt=salt)

    def variant_of(self, unit: str) -> str:
        """The variant that serves this unit.

        Weighted rendezvous hashing (Schindelhauer and Schomaker 2005, "Weighted distributed hash tables", the logarithmic method): each
        variant draws −w / ln u with its own u of the unit, and the highest draw wins. When the weight of a variant falls, only units of
        that variant move.
        """
        return max(self.weights, key=lambda variant: self._draw(unit, variant))

    def _draw(self, unit: str, variant: str) -> float:
        return self.weights[variant] / -math.log(_uniform(self.salt, unit, variant))


def _uniform(*parts: str) -> float:
    """A number in (0, 1) from the parts, equal on every machine; lengths keep `a|b` and `ab|` apart."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 12) / 2**52 + 2**-53
