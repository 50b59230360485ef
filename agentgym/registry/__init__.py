"""Registered versions of an agent, and the history of which was champion when."""

from agentgym.registry.ledger import ALIASES, HistoryEntry, Pointer, Standing
from agentgym.registry.model_registry import Lineage, ModelRegistry, ModelVersion, RegistryStatus

__all__ = ["ALIASES", "HistoryEntry", "Lineage", "ModelRegistry", "ModelVersion", "Pointer", "RegistryStatus", "Standing"]
