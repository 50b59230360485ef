"""Take the champion back: one switch for the whole agent, its traffic included."""

from prefect import flow

from agentgym.registry import ModelVersion
from agentgym.settings import read_settings
from tasks.ab_tests import call_off_ab_test
from tasks.registry import roll_back_champion
from tasks.serving import align_traffic


@flow(name="rollback")
def rollback(reason: str, agent: str = "agent", from_version: int | None = None, drain: bool = False) -> ModelVersion:
    """Points the champion at the version before it; run it again to undo. A test that runs is called off: its champion is gone.

    from_version: the champion to leave, so that a repeated run changes nothing.   drain: conversations under way end with the version that
    is left; by default they move at once.
    """
    settings = read_settings()
    champion = roll_back_champion(agent, reason, from_version, drain, settings)
    call_off_ab_test(agent, None, settings)
    align_traffic(agent, settings)
    return champion
