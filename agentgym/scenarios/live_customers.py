"""Customers of a world who talk to an endpoint over HTTP, use their own tools, and say afterwards what they got."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from agentgym.client import AgentGym
from agentgym.environments.case import Case
from agentgym.environments.play import play_episode
from agentgym.episode import Action, Conversation, Trajectory
from agentgym.errors import AgentGymError
from agentgym.policies.upstream import RequestLabels, UpstreamConfig, UpstreamPolicy
from agentgym.scenarios.world_scenario import WorldScenario

OnServed = Callable[["Tally"], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What was asked of the endpoint so far.   requests: chat and feedback, `failed` of which got no answer."""

    conversations: int = 0
    requests: int = 0
    failed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            conversations=self.conversations + other.conversations,
            requests=self.requests + other.requests,
            failed=self.failed + other.failed,
        )


class LiveCustomers:
    """Plays cases against `model` at `base_url`, several at a time. What a customer got is told as feedback; two of five give a score.

    The tags of each conversation say which case it was, so that what was served can be judged in the world again.
    """

    def __init__(self, scenario: WorldScenario, *, base_url: str, api_key: str, model: str, at_once: int = 12) -> None:
        self._scenario, self._base_url, self._api_key, self._model = scenario, base_url, api_key, model
        self._at_once = at_once
        self._of_thread = threading.local()

    def talk(self, cases: Iterable[Case], *, seed: int, on_served: OnServed | None = None) -> Tally:
        """Plays every case to its end; a conversation whose request fails ends there, and is counted."""
        tally = Tally()
        with ThreadPoolExecutor(self._at_once) as pool:
            for served in pool.map(lambda case: self._served(case, seed), cases):
                tally += served
                if on_served is not None:
                    on_served(tally)
        return tally

    def _served(self, case: Case, seed: int) -> Tally:
        mouth = self._mouth()
        mouth.begin(case, seed)
        try:
            played = play_episode(self._scenario.create_environment(), mouth, case, seed=seed)
            mouth.tell(played)
        except AgentGymError:
            return Tally(conversations=1, requests=mouth.requests, failed=1)
        return Tally(conversations=1, requests=mouth.requests)

    def _mouth(self) -> "_Mouth":
        """One connection for each thread."""
        if not hasattr(self._of_thread, "mouth"):
            self._of_thread.mouth = _Mouth(self._base_url, self._api_key, self._model)
        mouth: _Mouth = self._of_thread.mouth
        return mouth


class _Mouth:
    """A policy that is an endpoint, with the labels of the case it is asked about."""

    def __init__(self, base_url: str, api_key: str, model: str) -> None:
        config = UpstreamConfig(base_url=base_url, model=model)
        self._policy = UpstreamPolicy(config, api_key=api_key, names_conversations=True, labels_of=lambda _: self._labels)
        self._client = AgentGym(api_key, base_url=base_url)
        self.requests = 0

    def begin(self, case: Case, seed: int) -> None:
        self.requests = 0
        self._conversation_id = ""
        tags = {"kind": case.kind, "case": case.case_id.rpartition("/")[2], "seed": str(seed)}
        self._labels = RequestLabels(user=case.cluster_id, metadata=tags)

    def act(self, conversation: Conversation) -> Action:
        self.requests += 1
        self._conversation_id = conversation.conversation_id
        return self._policy.act(conversation)

    def tell(self, played: Trajectory) -> None:
        self.requests += 1
        is_rated = int(self._conversation_id[-1], 16) % 5 < 2
        score = played.satisfaction_score if is_rated else None
        self._client.feedback(self._conversation_id, outcome=played.outcome.value, score=score)
