"""When a step need not run again: its inputs and the code are the same, and what it made is still there."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.results import get_result_store
from pydantic import BaseModel

import agentgym
from agentgym.store import ArtifactRef, open_store


class InputDigest(CachePolicy):
    """Keys a task run by the content of its inputs; `settings`, which say where and not what, do not count.

    A cached result that refers to an artifact which is gone is not used: the step runs again and writes it anew.
    """

    def compute_key(self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any) -> str | None:
        content = {name: value for name, value in inputs.items() if name != "settings"}
        encoded = orjson.dumps([task_ctx.task.name, code_digest(), content], default=_plain, option=orjson.OPT_SORT_KEYS)
        key = f"{task_ctx.task.name}-{hashlib.sha256(encoded).hexdigest()}"
        return key if _is_usable(key) else None


@cache
def code_digest() -> str:
    """SHA-256 of the library's source, so that a step is done again when what it does has changed."""
    folder = Path(agentgym.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _is_usable(key: str) -> bool:
    results = get_result_store()
    if not results.exists(key):
        return True
    return all(open_store(ref.uri).exists(ref) for ref in _refs(results.read(key).result))


def _refs(value: object) -> list[ArtifactRef]:
    """Every reference inside a task's result."""
    if isinstance(value, ArtifactRef):
        return [value]
    if isinstance(value, BaseModel):
        return [ref for name in type(value).model_fields for ref in _refs(getattr(value, name))]
    if isinstance(value, list | tuple):
        return [ref for item in value for ref in _refs(item)]
    return []


def _plain(value: object) -> object:
    if isinstance(value, ArtifactRef):
        return value.digest
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    return str(value)
