"""How a customer puts what was never recorded: in few words or many, kindly or not, each time as the seed has it."""

from collections.abc import Sequence

import numpy as np
from pydantic import JsonValue

from agentgym.environments.customer_profile import Persona
from agentgym.environments.phrasing import phrase
from agentgym.environments.spoken import label


class Manner:
    """A persona's own words.   rng: of the episode."""

    def __init__(self, persona: Persona, rng: np.random.Generator) -> None:
        self._persona = persona
        self._rng = rng

    def tells(self, name: str, value: JsonValue) -> str:
        words = self._put(f"{label(name)}:" if self._persona.is_terse else f"[The|My] {label(name)} is")
        return f"{words} {value}."

    def corrects(self, values: Sequence[tuple[str, JsonValue]]) -> str:
        told = " and ".join(f"{self._put(f'the {label(name)} is')} {value}" for name, value in values)
        return f"{self._put('No,', 'No, that is not right:', upset='No! That is wrong:')} {told}."

    def agrees(self) -> str:
        return self._put("Yes.", "Yes, that is right.", friendly="Yes, please.", upset="Yes.")

    def declines(self, wish: str) -> str:
        return f"{self._put('No.', friendly='No, thank you.', upset='No.')} {wish}"

    def declines_for_another(self) -> str:
        return self._put("No, [what else|is there another one]?", friendly="No, thank you. Is there another one?")

    def asks_for_offers(self) -> str:
        return self._put("What [is there|do you have|can you offer]?", friendly="What can you offer me, please?")

    def again(self, text: str) -> str:
        return f"{self._put('As I said:', 'Again:', upset='I have told you already:')} {text}"

    def does_not_mind(self, name: str) -> str:
        return self._put(f"The {label(name)} does not matter.", f"I do not mind the {label(name)}.")

    def does_not_know(self) -> str:
        return self._put("I do not know that.", friendly="Sorry, I do not know that.")

    def says_thanks(self) -> str:
        return self._put("That is all.", "Thanks, that is all.", friendly="Thank you, that is all I needed.", upset="That is all.")

    def walks_out(self) -> str:
        return self._put("[This leads nowhere|I give up]. Goodbye.", friendly="Never mind, thank you. Goodbye.", upset="Forget it!")

    def _put(self, *plain: str, friendly: str = "", upset: str = "") -> str:
        """One of the phrases that fit the mood, in the customer's own case."""
        moods = {"friendly": friendly, "upset": upset, "plain": ""}
        mood = moods[self._persona.mood]
        words = phrase((mood,) if mood else plain, self._rng)
        return words.lower() if self._persona.is_lower_case else words
