"""Runs of tau-bench (Yao et al. 2024): OpenAI's chat form inside a benchmark's record."""

from typing import Any

from agentgym.episode import Outcome

# The moment its policy calls now.
SPOKEN_AT = "2024-05-15T15:00:00-05:00"
# What the simulated customer writes to end a run; nobody says it.
END_MARKER = "###STOP###"


def is_tau_bench_run(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("traj"), list) and {"task_id", "trial", "reward"} <= value.keys()


def unwrap_tau_bench_run(run: dict[str, Any]) -> dict[str, Any]:
    """The run as a chat log. The trials of a task share customer, ids and whole calls, so the task is what a split keeps together."""
    return {
        "conversation_id": f"task-{run['task_id']}/trial-{run['trial']}",
        "customer_id": f"task-{run['task_id']}",
        "messages": _without_end_marker(run["traj"]),
        "outcome": (Outcome.RESOLVED if run["reward"] == 1 else Outcome.UNRESOLVED).value,
        "started_at": SPOKEN_AT,
    }


def _without_end_marker(messages: list[Any]) -> list[Any]:
    last = messages[-1] if messages else None
    if not isinstance(last, dict) or last.get("role") != "user" or END_MARKER not in str(last.get("content")):
        return messages
    words = last["content"].replace(END_MARKER, "").strip()
    return messages[:-1] + ([{"role": "user", "content": words}] if words else [])
