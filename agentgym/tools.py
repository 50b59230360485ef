"""A tool an agent can call: its JSON Schema, and the check of a call against it."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Self

import jsonschema
import orjson
from pydantic import BaseModel, ConfigDict, JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from agentgym.errors import InvalidInput


class Tool(BaseModel):
    """A tool by name, with the JSON Schema of its arguments.

    writes: whether a call changes the world; None when nobody said.
    A dotted name, `Restaurants_1.FindRestaurants`, belongs to the service before the dot.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    parameters: dict[str, JsonValue] = {"type": "object", "properties": {}}
    writes: bool | None = None

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def service(self) -> str:
        """What stands before the dot in the name; the whole name where there is none."""
        return self.name.rpartition(".")[0] or self.name

    @property
    def properties(self) -> dict[str, dict[str, JsonValue]]:
        """JSON Schema of each argument, by name."""
        return self.parameters.get("properties", {})  # type: ignore[return-value]

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the arguments a call must give."""
        return tuple(self.parameters.get("required", ()))  # type: ignore[arg-type]

    def violations(self, arguments: dict[str, JsonValue]) -> list[str]:
        """What is wrong with these arguments, one sentence each; empty when the schema accepts them."""
        validator = _validator(orjson.dumps(self.parameters))
        try:
            errors = sorted(validator.iter_errors(arguments), key=lambda error: list(map(str, error.path)))
        except RecursionError:
            return [f"{self.name}: its schema refers to itself without end"]
        return [f"{'.'.join(map(str, error.path)) or self.name}: {error.message}" for error in errors]

    @classmethod
    def from_openai(cls, declaration: dict[str, JsonValue]) -> Self:
        """The tool in OpenAI's `{"type": "function", "function": {…}}`, or in the bare function object."""
        function = declaration.get("function", declaration)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise InvalidInput(f"A tool declaration needs a function with a name; got {declaration!r}. Use OpenAI's form.")
        name, parameters = str(function["name"]), function.get("parameters") or {"type": "object", "properties": {}}
        try:
            jsonschema.Draft202012Validator.check_schema(parameters)  # type: ignore[arg-type]
        except jsonschema.SchemaError as error:
            raise InvalidInput(
                f"A tool's parameters must be a JSON Schema; those of {name!r} are not: {error.message}. Mend the declaration."
            ) from error
        if lost := next(_unresolvable(parameters), None):
            raise InvalidInput(
                f"A tool's parameters must hold what they refer to; those of {name!r} refer to {lost!r}, which is not in them. "
                "Write the definition into the declaration."
            )
        return cls(name=name, description=str(function.get("description") or ""), parameters=parameters)  # type: ignore[arg-type]

    def to_openai(self) -> dict[str, JsonValue]:
        function: dict[str, JsonValue] = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


@lru_cache(maxsize=4096)
def _validator(schema: bytes) -> jsonschema.protocols.Validator:
    # With a registry of its own it looks nothing up over the network.
    return jsonschema.Draft202012Validator(orjson.loads(schema), registry=Registry())


def _unresolvable(schema: JsonValue) -> Iterator[str]:
    """References that lead to nothing inside the schema."""
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            yield reference


def _references(schema: JsonValue) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        for keyword, item in schema.items():
            if keyword == "$ref" and isinstance(item, str):
                yield item
            elif keyword not in ("const", "default", "enum", "examples"):
                yield from _references(item)
