"""A log of three conversations in every format, as the tests write them: JSON values, one for each line; rows for CSV and SQL."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

UNIT = Path(__file__).parents[2] / "unit"
MIDDLE, KEPT = "c1", ("c0", "c2")
COLUMNS = {"conversation_id": "ticket", "role": "author", "content": "text", "tool_name": "tool", "arguments": "args", "result": "answer"}
MORE_COLUMNS = {"outcome": "end", "satisfaction_score": "stars", "customer_id": "customer", "timestamp": "at", "order": "id"}
MAPPING = {"columns": COLUMNS | MORE_COLUMNS, "roles": {"customer": "user", "bot": "assistant", "api": "tool", "note": None}}
HEADER = ["id", *COLUMNS.values(), "end", "stars", "customer", "at"]


def _tests(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, UNIT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_FORMATS, _IMPORTERS = _tests("test_importer_formats"), _tests("test_importers")
SGD_SCHEMA = _IMPORTERS.SGD_SCHEMA


def _whole(name: str) -> list[Any]:
    """AgentGym's own form, with all that it may say."""
    (chat,) = _FORMATS.chat(name)
    tool = {"name": "find_order", "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}}, "writes": False}
    said = {"outcome": "resolved", "satisfaction_score": 4, "customer_id": "ann@mail.org", "agent_tokens": 7, "latency_seconds": 0.5}
    return [{**chat, **said, "started_at": "2025-01-01T10:00:00Z", "tags": {"queue": "billing"}, "tools": [tool], "phone": "020 7946 0958"}]


def _tau_bench(name: str) -> list[Any]:
    return [{"task_id": name, "trial": 0, "reward": 1.0, "traj": _FORMATS.chat(name)[0]["messages"]}]


def _sgd(name: str) -> list[Any]:
    return [{**_IMPORTERS.sgd_dialogue(), "dialogue_id": name}]


VALUES: dict[str, Callable[[str], list[Any]]] = {**_FORMATS.EXAMPLES, "jsonl": _whole, "json": _whole, "tau_bench": _tau_bench, "sgd": _sgd}
# Which format a seed is read as, where it is not its name.
READ_AS = {"tau_bench": "openai"}


def kept_ids(seed: str) -> tuple[str, ...]:
    """What the untouched conversations are called, given the folder `logs`."""
    forms = {"tau_bench": "task-{}/trial-0", "sgd": "logs/{}"}
    return tuple(forms.get(seed, "{}").format(name) for name in KEPT)


def rows(name: str) -> list[list[Any]]:
    said = [
        ("customer", "Where is my order? Call me at 020 7946 0958.", "", "", ""),
        ("bot", "", "find_order", '{"number": 7}', ""),
        ("api", "", "find_order", "", '{"status": "sent"}'),
        ("bot", "It is on its way.", "", "", ""),
    ]
    return [[place, name, *row, "resolved", "4", "ann@mail.org", f"2025-01-01T10:0{place}"] for place, row in enumerate(said)]
