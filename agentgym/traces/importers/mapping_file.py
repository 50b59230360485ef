"""The JSON file that says what the columns of rows mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agentgym.errors import InvalidInput
from agentgym.traces.importers.files import open_log, read_json, what_is_at
from agentgym.traces.importers.json_values import refuse_database
from agentgym.traces.importers.url import refuse_url

# What pydantic says by type, in words that know nothing of our classes.
_FAULTS = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "string_type": "must be text",
    "string_too_short": "must be one character",
    "string_too_long": "must be one character",
}
# What pydantic adds to where a fault is, when a value may be of several types.
_ALTERNATIVES = ("str", "OutcomeColumn")
_Model = TypeVar("_Model", bound=BaseModel)


def require_mapping_file(file: Path) -> Path:
    """The file itself. Raises InvalidInput when none is there."""
    found = what_is_at(file)
    if found != "file":
        refuse_url(file)
        fact = "is a folder" if found == "folder" else "is not there"
        raise InvalidInput(f"A mapping (--mapping) is a JSON file; {str(file)!r} {fact}. Check the path; docs/06-logs.md has examples.")
    return file


def read_mapping(file: Path, model: type[_Model]) -> _Model:
    """The mapping in a JSON file. Raises InvalidInput."""
    with open_log(file) as opened:
        refuse_database(file, opened.read(1 << 10))
    try:
        return model.model_validate(read_json(file))
    except ValidationError as error:
        raise InvalidInput(
            f"A mapping says in JSON what the columns of rows mean; in {str(file)!r}, {_told(error)}. "
            "Mend it; docs/06-logs.md has examples."
        ) from error


def _told(error: ValidationError) -> str:
    """The first fault that is not of an alternative nobody meant."""
    faults = error.errors()
    fault = next((each for each in faults if not (each["loc"][-1:] == ("str",) and isinstance(each["input"], dict))), faults[0])
    where = ".".join(str(part) for part in fault["loc"] if part not in _ALTERNATIVES)
    return f"{where or 'the mapping'} {_fact(fault)}"


def _fact(fault: Mapping[str, Any]) -> str:
    context: Mapping[str, Any] = fault.get("ctx", {})
    if fault["type"] in ("literal_error", "enum"):
        return f"must be one of {context['expected']}"
    return _FAULTS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
