"""A language model that says one thing at a time: bounded in time, in tries and in length."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from agentgym.chat_endpoint import ChatEndpoint, endpoint_address, read_answer
from agentgym.errors import InvalidInput, SimulatorFailed, Unavailable

PARTY = "A language model"
# A reasoning model's thoughts are not what it says.
_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_LONGEST_PAUSE_SECONDS = 8.0


def _address(base_url: str) -> str:
    return endpoint_address(base_url, party=PARTY)


class LanguageModelConfig(BaseModel):
    """Which model, and how long it is waited for.

    base_url: what stands before `/chat/completions`.   timeout_seconds: of one answer.   tries: of one thing to say, the first included.
    pause_seconds: before the second try; it doubles with each.   longest_answer: in characters; more is no turn of a conversation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    base_url: Annotated[str, AfterValidator(_address)]
    model: str = Field(min_length=1)
    api_key: SecretStr | None = None
    temperature: float = Field(default=0.7, ge=0, le=2)
    timeout_seconds: float = Field(default=30.0, gt=0, le=600)
    tries: int = Field(default=3, ge=1, le=10)
    pause_seconds: float = Field(default=0.5, ge=0, le=60)
    longest_answer: int = Field(default=4000, ge=1)


class LanguageModel:
    """Asks the model of a configuration.   sleep: waits between tries."""

    def __init__(self, config: LanguageModelConfig, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.config = config
        self._sleep = sleep

    def __reduce__(self) -> tuple[Any, ...]:
        # A connection does not travel to another process; there it is made anew.
        return _made_again, (self.config, self._sleep)

    def require_answer(self) -> None:
        """Raises Unavailable when the model is away, InvalidInput when it refuses its name or the key: before anything rests on it."""
        self._once([{"role": "user", "content": "Say hello."}], seed=0)

    def say(self, messages: Sequence[Mapping[str, str]], *, seed: int) -> str:
        """What the model says next, without what it thought before. Raises SimulatorFailed when no try gave words."""
        for attempt in range(self.config.tries):
            try:
                return self._once(messages, seed=seed + attempt)
            except (Unavailable, InvalidInput) as error:
                failure = error
                if isinstance(error, InvalidInput):
                    break
            if attempt + 1 < self.config.tries:
                self._sleep(min(self.config.pause_seconds * 2**attempt, _LONGEST_PAUSE_SECONDS))
        raise SimulatorFailed(str(failure)) from failure

    def _once(self, messages: Sequence[Mapping[str, str]], *, seed: int) -> str:
        """seed: another one for another try, as some servers repeat an answer they gave to an equal request."""
        body = {"model": self.config.model, "messages": list(messages), "temperature": self.config.temperature, "seed": seed}
        return read_answer(self._endpoint.ask(body), self._words, party=PARTY, base_url=self.config.base_url)

    def _words(self, message: Mapping[str, Any]) -> str:
        content = message.get("content")
        if not isinstance(content, str):
            raise TypeError("the answer has no words")
        words = _THOUGHTS.sub("", content).strip()
        if not words or len(words) > self.config.longest_answer:
            raise ValueError("the answer is empty, or too long for a turn of a conversation")
        return words

    @cached_property
    def _endpoint(self) -> ChatEndpoint:
        key = self.config.api_key.get_secret_value() if self.config.api_key else None
        return ChatEndpoint(self.config.base_url, party=PARTY, api_key=key, timeout_seconds=self.config.timeout_seconds)


def _made_again(config: LanguageModelConfig, sleep: Callable[[float], None]) -> LanguageModel:
    return LanguageModel(config, sleep=sleep)
