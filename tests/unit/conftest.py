"""A policy that serves as a version where none has to be good."""

import pytest

from agentgym.episode import Action, Conversation
from agentgym.errors import InvalidInput
from agentgym.messages import assistant
from agentgym.serving.engine import Engine, PolicyEngine, PolicyWorker
from agentgym.store import ArtifactRef


class Parrot:
    """A policy that says its version and the customer's last words; it chokes on a pear."""

    network = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.acted = 0

    def act_batch(self, conversations: list[Conversation], *, rng: object) -> list[Action]:
        if any("pear" in conversation.messages[-1].content for conversation in conversations):
            raise ZeroDivisionError("pear of customer Ann")
        self.acted += len(conversations)
        return [Action(message=assistant(f"{self.name}: {conversation.messages[-1].content}")) for conversation in conversations]


class Cage:
    """Loads parrots, and has no version 9."""

    def __init__(self) -> None:
        self.parrots: dict[str, Parrot] = {}
        self.broken = {"9"}
        self._worker = PolicyWorker()

    def load(self, ref: ArtifactRef) -> Engine:
        if ref.uri in self.broken:
            raise InvalidInput("A checkpoint must be whole; 9 is not. Restore it.")
        self.parrots[ref.uri] = Parrot(ref.uri)
        return PolicyEngine(self.parrots[ref.uri], self._worker)  # type: ignore[arg-type]


@pytest.fixture
def cage() -> Cage:
    return Cage()
