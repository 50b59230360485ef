"""What is served: the versions that are held, how customers are split between them, and which conversations stay where they began.

A plan is a value. Every replica gets the same one and decides by itself, so nothing is asked of anybody before an answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agentgym.errors import InvalidInput
from agentgym.serving.traffic import Allocation
from agentgym.store import ArtifactRef

VariantName = Annotated[str, Field(min_length=1, max_length=64)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """The variant that holds a conversation, and the epoch of the plan that dealt it."""

    variant: str
    epoch: int


class TrafficPlan(BaseModel):
    """How traffic is served from an epoch on.

    epoch: counts plans; a later one replaces an earlier one, never the other way round.   versions: the checkpoint of each variant that is
    held, also of those without a share, so that a rollback loads nothing.   holds_from: conversations dealt at an earlier epoch are dealt
    anew.   registry_sequence, test_revision: what of the registry's history and of the tests it follows.
    test_id: the test that the split belongs to; None where there is no test.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str = Field(min_length=1)
    epoch: int = Field(default=0, ge=0)
    champion: VariantName
    allocation: Allocation
    versions: Mapping[VariantName, ArtifactRef]
    holds_from: int = Field(default=0, ge=0)
    registry_sequence: int = Field(default=0, ge=0)
    test_revision: int = Field(default=0, ge=0)
    test_id: str | None = None
    reason: str = Field(min_length=1)

    @model_validator(mode="after")
    def _hold_what_is_served(self) -> Self:
        missing = sorted(self.needed - self.versions.keys())
        if missing:
            raise InvalidInput(
                f"A plan must hold every version it serves; {', '.join(missing)} is not among {', '.join(self.versions)}. "
                "Give its checkpoint, or take it out of the weights."
            )
        return self

    @property
    def needed(self) -> frozenset[str]:
        """The versions without which it cannot be followed; the others are held so that a rollback loads nothing."""
        return frozenset({self.champion, *self.allocation.weights})

    def holds(self, began: Assignment | None) -> bool:
        """Whether a conversation that began like this stays where it is."""
        return began is not None and began.epoch >= self.holds_from and began.variant in self.versions

    def variant_for(self, unit: str, began: Assignment | None) -> str:
        """The variant that serves this unit: the one its conversation began with as long as that holds, else the one it is dealt."""
        return began.variant if began is not None and self.holds(began) else self.allocation.variant_of(unit)
