"""Who finds names of people in a text: a package that offers it, where one is installed."""

from importlib.metadata import entry_points

from agentgym.errors import InvalidInput
from agentgym.traces.redaction import NameFinder

ENTRY_POINT_GROUP = "agentgym.name_finders"


def installed_name_finder() -> NameFinder:
    """The first finder that an installed package offers as an entry point: a function from a text to the start and end of each name.

    Names need a model of the language, which is not part of AgentGym. Raises InvalidInput where none is offered.
    """
    offered = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name)
    if not offered:
        raise InvalidInput(
            f"Names are redacted by a package that finds them; none offers an entry point in {ENTRY_POINT_GROUP!r}. "
            "Install one, or leave redact_names off: e-mails, numbers, addresses and keys are redacted without it."
        )
    finder: NameFinder = offered[0].load()
    return finder
