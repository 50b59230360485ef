"""What a look at an installation found."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from agentgym.errors import AgentGymError

State = Literal["ok", "warning", "problem"]
_ORDER: tuple[State, ...] = ("ok", "warning", "problem")


class Finding(BaseModel):
    """A fact about one thing.

    state: `warning` for what works but may not be meant, `problem` for what does not work.   repair: what to do; empty where nothing is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    state: State
    statement: str
    repair: str = ""


Look: TypeAlias = Callable[[], Iterable[Finding]]


def look_at(looks: Mapping[str, Look]) -> tuple[Finding, ...]:
    """What all of them found. A look that fails is a problem of its own, and the others go on."""
    return tuple(finding for name, look in looks.items() for finding in _found(name, look))


def worst_of(findings: Iterable[Finding]) -> State:
    """The worst state among them; `ok` where there is none."""
    return max((finding.state for finding in findings), key=_ORDER.index, default="ok")


def ok(name: str, statement: str) -> Finding:
    return Finding(name=name, state="ok", statement=statement)


def warning(name: str, statement: str, repair: str) -> Finding:
    return Finding(name=name, state="warning", statement=statement, repair=repair)


def problem(name: str, statement: str, repair: str) -> Finding:
    return Finding(name=name, state="problem", statement=statement, repair=repair)


def _found(name: str, look: Look) -> list[Finding]:
    try:
        return list(look())
    except AgentGymError as error:
        # Its message says the repair.
        return [problem(name, str(error), "")]
    except Exception as error:
        return [problem(name, f"This could not be looked at: {type(error).__name__}: {error}", "Report it, with this line.")]
