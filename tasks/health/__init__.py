"""What `agentgym doctor` looks at: each look finds what is well, worth knowing, or wrong, and never changes anything."""

from tasks.health.finding import Finding, State, look_at, worst_of

__all__ = ["Finding", "State", "look_at", "worst_of"]
