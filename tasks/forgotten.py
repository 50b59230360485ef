"""Which conversations were forgotten, for whoever reads a log."""

from collections.abc import Callable

from agentgym.settings import Settings
from agentgym.traces.forgotten import ForgottenConversations
from tasks.health.databases import is_begun


def forgotten_conversations(settings: Settings) -> ForgottenConversations | None:
    """Those that were forgotten; None where the database is not even begun."""
    return ForgottenConversations(settings.experience_url) if is_begun(settings.experience_url) else None


def forgotten_in(settings: Settings) -> Callable[[str], bool]:
    """Whether a conversation of this id was forgotten."""
    forgotten = forgotten_conversations(settings)
    return forgotten.is_forgotten if forgotten else lambda _: False
