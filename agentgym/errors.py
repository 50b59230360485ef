"""What can go wrong, by who can act on it.

AgentGymError
├── InvalidInput              the caller: mend what was given            exit code 2
│   ├── ScenarioNotFoundError the caller: no scenario has this name
│   ├── NotOnTape             the caller: a recording is played that lacks this call
│   └── TrainingCollapsed     the caller: other settings, or another reward
├── InsufficientData          the caller: wait for, or bring, more       exit code 2
├── Unavailable               the operator: something needed is away     exit code 3
│   └── SimulatorFailed       the operator: one episode's customer failed; it is left out
├── Refused                   nobody: the answer is no, or not yet       exit code 4
└── ContractBroken            us: a promise inside AgentGym was broken   exit code 1

A message says the rule, then the fact that broke it, then the repair.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import ClassVar


class AgentGymError(Exception):
    """Any error AgentGym raises on purpose; `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 1


class InvalidInput(AgentGymError):
    """What was given breaks a rule; the caller can mend it."""

    exit_code = 2


class ScenarioNotFoundError(InvalidInput):
    """No scenario is registered under this name; near matches are offered."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=3)
        repair = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Known: {', '.join(names) or 'none'}."
        super().__init__(f"A scenario must be registered before it is loaded; {name!r} is not. {repair}")
        self.name = name
        self.near_matches = tuple(near)


class NotOnTape(InvalidInput):
    """A call was made that the recording being played in tape mode does not hold, or holds no more; it fails this episode alone."""

    def __init__(self, tool: str, arguments: Mapping[str, object], conversation_id: str) -> None:
        call = f"{tool}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
        super().__init__(
            f"In tape mode every call must be on the recording; {call} is not left on {conversation_id!r}. "
            "Make the recorded calls only, or play without tape=True."
        )
        self.tool = tool


class TrainingCollapsed(InvalidInput):
    """A training run was stopped as it was doing harm, or nothing; what it had reached before is kept."""


class InsufficientData(AgentGymError):
    """The quantity is undefined on this little data; more of it would define it."""

    exit_code = 2


class Unavailable(AgentGymError):
    """Something needed did not answer; the same call may succeed later."""

    exit_code = 3


class SimulatorFailed(Unavailable):
    """What plays the customer failed in one episode, which is left out of its group and counted as a failure, never as a reward of 0."""


class Refused(AgentGymError):
    """A gate answered no, or not yet; nothing was changed."""

    exit_code = 4


class ContractBroken(AgentGymError):
    """AgentGym broke its own promise: a bug worth reporting."""
