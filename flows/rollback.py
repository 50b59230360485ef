"""Take the champion back: one switch for the whole agent."""

from prefect import flow

from agentgym.registry import ModelVersion
from agentgym.settings import read_settings
from tasks.registry import roll_back_champion


@flow(name="rollback")
def rollback(reason: str, agent: str = "agent", from_version: int | None = None) -> ModelVersion:
    """Points the champion at the version before it; run it again to undo.

    from_version: the champion to leave, so that a repeated run changes nothing.
    """
    return roll_back_champion(agent, reason, from_version, read_settings())
