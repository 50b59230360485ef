"""Options of a command: what was left out is decided elsewhere."""

from collections.abc import Mapping
from typing import Any


def given(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in asked.items() if value is not None}
