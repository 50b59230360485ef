"""A customer that a language model plays: the profile says who they are, the model finds the words."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date

import numpy as np

from agentgym.environments.case import Case
from agentgym.environments.conversation import UserTurn
from agentgym.environments.customer_profile import CustomerProfile, Fact
from agentgym.environments.language_model import PARTY, LanguageModel
from agentgym.environments.recording import Playhead
from agentgym.environments.spoken import Reader, Words, label
from agentgym.errors import SimulatorFailed
from agentgym.messages import Message
from agentgym.traces.matching import canonical

STOP, UNKNOWN = "###STOP###", "###UNKNOWN###"
# Models also write markers of their own, or break off in one; none of them is something a customer says.
_MARKER = re.compile(r"#{2,}[ ]*[A-Z][A-Z _-]*[ ]*#*")
_SPEAKER = re.compile(r"^(?:customer|user|me)\s*:\s*", re.IGNORECASE)
_RULES = f"""You play a customer who talks to the agent of a company. You are the customer, never the agent.
Write only what the customer says next: one short message, without quotation marks and without a name before it.
Say nothing that is not told below or by the agent. Tell a fact when it is time for it, not all at once. Invent nothing.
When the agent asks what is not told below, begin with {UNKNOWN} and say that you do not know.
When the agent has done all you want, or will not do it, say goodbye and end with {STOP}."""
_WHEN = {
    "at_once": "say it at once",
    "unasked": "say it by yourself, not in the first words",
    "asked": "say it only when asked",
    "agreed": "agree to it when the agent says it",
    "corrected": "say it when the agent has another value",
}


class LanguageCustomer:
    """A `SimulatedUser` whose words a language model writes; it begins with the profile's own first words.

    The model sees words alone, never a call or a result, and of what the customer chose among offers only what the agent has said, so it
    cannot tell what only a tool told. Patience is counted here: it ends when so many turns brought neither a due call nor a new fact.
    playhead: of a recorded case, which moves on to what the customer is after; None in a declared world.
    Raises SimulatorFailed when the model gives nothing to say.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        profile_of: Callable[[Case], CustomerProfile],
        today_of: Callable[[Case], date],
        read: Reader,
        playhead: Playhead | None = None,
    ) -> None:
        self._model = model
        self._profile_of = profile_of
        self._today_of = today_of
        self._read = read
        self._playhead = playhead

    def open(self, case: Case, rng: np.random.Generator) -> str:
        self._profile = self._profile_of(case)
        self._today = self._today_of(case)
        self._rng = rng
        self._waited = self._annoyances = 0
        self._calls_due = self._count_due()
        self._told = self._facts_in(self._profile.goal)
        return self._profile.goal

    @property
    def annoyances(self) -> int:
        return self._annoyances

    def reply(self, words: str, *, messages: Sequence[Message], is_closed: bool) -> UserTurn:
        if self._playhead:
            self._playhead.go_to_due()
        spoken = [*_spoken(messages), {"role": "user", "content": words or "(The agent says nothing.)"}]
        brief = {"role": "system", "content": self._brief(spoken)}
        answer = self._model.say([brief, *spoken], seed=int(self._rng.integers(2**31)))
        said = _SPEAKER.sub("", _MARKER.sub(" ", answer).strip()).strip()
        has_left = STOP in answer
        if not said and not has_left:
            raise SimulatorFailed(f"{PARTY} must say something as the customer; it said {answer[:80]!r}. Choose another model.")
        is_patient = self._is_moving(said)
        return UserTurn(content=said or None, has_left=has_left or not is_patient, is_simulator_error=UNKNOWN in answer)

    def _is_moving(self, said: str) -> bool:
        """Whether the customer still waits, after another turn."""
        due, told = self._count_due(), self._told | self._facts_in(said)
        is_in_vain = due >= self._calls_due and told == self._told
        self._calls_due, self._told = min(due, self._calls_due), told
        self._annoyances += is_in_vain
        self._waited = self._waited + 1 if is_in_vain else 0
        return self._waited < self._profile.patience_turns

    def _count_due(self) -> int:
        return len(self._playhead.missing_calls) if self._playhead else 0

    def _facts_in(self, text: str) -> set[tuple[str, str]]:
        words = Words(text=text, today=self._today, read=self._read)
        return {(fact.name, canonical(fact.value)) for fact in self._profile.facts if words.says(fact.value)}

    def _brief(self, spoken: Sequence[dict[str, str]]) -> str:
        """Who the model plays, as far as they know it by now."""
        heard = Words(text=" ".join(line["content"] for line in spoken), today=self._today, read=self._read)
        parts = (
            _RULES,
            f"How you are: {self._profile.persona.describe()}.",
            "What you want, one after the other:\n" + "\n".join(f"- {wish}" for wish in _wishes(self._profile, heard)),
            "What you know:\n" + "\n".join(map(_known, self._profile.facts)),
            "What you take of what was offered:\n" + "\n".join(_taken(self._profile, heard)),
        )
        return "\n\n".join(part for part in parts if not part.endswith(":\n"))


def _wishes(profile: CustomerProfile, heard: Words) -> Iterator[str]:
    """What brought each errand up, without what the customer has not heard yet."""
    for errand in profile.errands:
        for utterance in errand.utterances[:1]:
            said = [saying.text for saying in utterance.sayings if all(heard.says(need) for need in saying.needs)]
            if said:
                yield " ".join(said)


def _known(fact: Fact) -> str:
    instead = f", in place of {fact.instead_of}" if fact.instead_of is not None else ""
    return f"- {label(fact.name)}: {fact.value}{instead} ({_WHEN[fact.disclosure]})"


def _taken(profile: CustomerProfile, heard: Words) -> list[str]:
    choices = {(choice.name, str(choice.value)): choice for errand in profile.errands for choice in errand.choices}
    return [f"- {label(choice.name)}: {choice.value}" for choice in choices.values() if heard.says(choice.value)]


def _spoken(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The conversation as the customer heard it: to the model, its own words are the assistant's."""
    roles = {"user": "assistant", "assistant": "user"}
    return [{"role": roles[message.role], "content": message.content} for message in messages if message.role in roles and message.content]
