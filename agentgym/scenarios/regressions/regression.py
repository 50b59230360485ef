"""A failure as a case that can be played again and again."""

import hashlib

from pydantic import BaseModel, ConfigDict, Field

from agentgym.environments.case import Case
from agentgym.messages import Message

LEAST = "~least"
"""Ends the id of a case that was cut out of a conversation, after the conversation's own."""


class Regression(BaseModel):
    """A minimised case, which a version passes by solving it.

    source: the conversation, or the case, that failed; `source_digest` is the SHA-256 of its content.   found_in: who failed.
    what: the failure in words.   replay: the shortest course of the conversation that still fails.
    messages_before, messages_after: of the failed conversation, and of `replay`.   tests: replays it took to find it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: Case
    source: str
    source_digest: str
    found_in: str
    what: str
    replay: tuple[Message, ...]
    messages_before: int = Field(ge=0)
    messages_after: int = Field(ge=0)
    tests: int = Field(ge=0)
    is_minimal: bool = True

    @property
    def conversations(self) -> frozenset[str]:
        """Whose words it may hold: the one that failed, and the one that shows what would have been right."""
        return frozenset({self.source, self.case.case_id.removesuffix(LEAST)})

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def regression_id(self) -> str:
        """Follows from the case alone: one that is found twice is one."""
        return hashlib.sha256(self.case.model_dump_json().encode()).hexdigest()[:12]
