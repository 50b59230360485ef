"""Makes cases of a declared world: one customer, one kind, one number give always the same case."""

from hashlib import sha256
from typing import Any

import numpy as np
from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.declaration import Columns, Intent, World
from agentgym.environments.expressions import evaluate, fill, resolve
from agentgym.environments.world import due_calls
from agentgym.errors import InvalidInput


def generate_case(world: World, *, kind: str, customer: str, number: int) -> Case:
    """The case with this number of this customer. Raises InvalidInput when the world has no such kind."""
    intent = world.intents.get(kind)
    if intent is None:
        raise InvalidInput(f"A case is of a kind its world declares; {world.name!r} has no {kind!r}. Use {', '.join(world.intents)}.")
    seed = _seed(world.name, kind, customer, str(number))
    rng = np.random.default_rng(seed)
    scope = _scope(world, customer) | {"rng": rng}
    situation = intent.situations[_drawn({name: situation.share for name, situation in intent.situations.items()}, rng)]
    rows = {table: [_row(world, table, situation.set.get(table, {}), scope)] for table in intent.tables}
    scope["facts"] = _facts(world, intent, scope)
    seen_by_steps = {name: scope[name] for name in ("facts", "rules", *(table.row for table in world.tables.values()))}
    return Case(
        case_id=f"{kind}/{customer}/{number}",
        scenario=world.name,
        kind=kind,
        difficulty=intent.difficulty,
        cluster_id=customer,
        goal=fill(intent.goal, scope),
        persona=scope["customer"]["persona"],
        facts=scope["facts"],
        initial_state=rows,
        expected_calls=tuple(due_calls(intent.steps, seen_by_steps)),
        seed=seed,
    )


def draw_kind(world: World, rng: np.random.Generator) -> str:
    """A kind of case, by the shares the world declares."""
    return _drawn({kind: intent.share for kind, intent in world.intents.items()}, rng)


def _scope(world: World, customer: str) -> dict[str, Any]:
    """What expressions see while a case is made; every row is None until it is made. Customers stay who they are in all their cases."""
    scope: dict[str, Any] = {"rules": world.rules, "lists": world.lists, **dict.fromkeys(table.row for table in world.tables.values())}
    rng = np.random.default_rng(_seed(world.name, customer))
    personas = {name: persona.share for name, persona in world.behaviour.personas.items()}
    scope["customer"] = {"persona": _drawn(personas, rng)}
    _fill_columns(scope["customer"], world.customer, scope | {"rng": rng})
    return scope


def _row(world: World, table: str, changes: Columns, scope: dict[str, Any]) -> dict[str, JsonValue]:
    row: dict[str, JsonValue] = {}
    scope[world.tables[table].row] = row
    _fill_columns(row, world.tables[table].columns | changes, scope)
    return row


def _fill_columns(row: dict[str, JsonValue], columns: Columns, scope: dict[str, Any]) -> None:
    """Column by column, so that a later one may use an earlier one."""
    for name, value in columns.items():
        row[name] = resolve(value, scope)


def _facts(world: World, intent: Intent, scope: dict[str, Any]) -> dict[str, JsonValue]:
    """What the customer knows; `NAME_at_first` is what they say by mistake before they are asked again, None without a mistake."""
    facts: dict[str, JsonValue] = {}
    for name in intent.facts:
        fact = world.facts[name]
        facts[name] = resolve(fact.value, scope)
        if fact.mistake is not None:
            errs = evaluate(f"chance({fact.mistake.rate})", scope)
            facts[f"{name}_at_first"] = resolve(fact.mistake.value, scope) if errs else None
    return facts


def _drawn(shares: dict[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(shares.values()))
    return list(shares)[rng.choice(len(weights), p=weights / weights.sum())]


def _seed(*parts: str) -> int:
    return int.from_bytes(sha256("\x1f".join(parts).encode()).digest()[:7])
