"""A scenario with the cases to play in it: train, held-out, edge, regression."""

import gzip
import hashlib
from collections.abc import Sequence
from typing import Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict

from agentgym.environments.case import Case
from agentgym.errors import InvalidInput
from agentgym.tools import Tool

Part = Literal["train", "held_out", "edge", "regression"]


class ScenarioPack(BaseModel):
    """Cases of one scenario, in parts that share no cluster between train and held-out.

    scenario: the registered name, or `recorded` when the scenario is made from `tools` and the recordings inside the cases.
    snapshot_digest: of the DatasetSnapshot the cases come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scenario: str
    tools: tuple[Tool, ...]
    train: tuple[Case, ...]
    held_out: tuple[Case, ...]
    edge: tuple[Case, ...] = ()
    regression: tuple[Case, ...] = ()
    snapshot_digest: str

    def model_post_init(self, _: object) -> None:
        shared = _clusters(self.train) & _clusters(self.held_out)
        if shared:
            raise InvalidInput(
                f"Train and held-out cases must share no customer; {len(shared)} are in both, such as {min(shared)!r}. "
                "Split the snapshot by customer before making cases."
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the pack's content, the same for equal packs."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def to_bytes(self) -> bytes:
        return gzip.compress(self.model_dump_json().encode(), mtime=0, compresslevel=3)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        return cls.model_validate(orjson.loads(gzip.decompress(content)))


def _clusters(cases: Sequence[Case]) -> set[str]:
    return {case.cluster_id for case in cases}
