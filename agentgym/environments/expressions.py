"""A small, safe language for what a world declares: conditions and generated values, as text, with no access to Python.

Python's syntax for literals, lists, names, `row.column`, arithmetic, comparison, `in`, `and`, `or`, `not` and `a if b else c`, and the
functions below. Nothing else: no attribute of a Python object, no loop, no import. Drawing functions work only where values are
generated, so that a condition always gives the same answer. A row the case does not have is None and so are its columns; None is
neither less nor more than anything.

    payment.days_since_charge <= rules.refund_window_days and payment.status == 'succeeded'
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from agentgym.errors import InvalidInput

Scope = Mapping[str, Any]
Evaluated = Callable[[Scope], Any]

PURE: dict[str, Callable[..., Any]] = {
    "lower": str.lower,
    "text": str,
    "last": lambda words, count: words[-count:],
    "overlap": lambda left, right: not set(left).isdisjoint(right),
}
DRAWING: dict[str, Callable[..., Any]] = {
    "choose": lambda rng, options: options[rng.integers(len(options))],
    "chance": lambda rng, probability: bool(rng.random() < probability),
    "integer": lambda rng, low, high: int(rng.integers(low, high + 1)),
    "money": lambda rng, low, high: round(float(rng.uniform(low, high)), 2),
    "digits": lambda rng, count: "".join(map(str, rng.integers(10, size=count))),
    "mistype": lambda rng, words: mistype(words, rng),
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: lambda left, right: left is not None and right is not None and left < right,
    ast.LtE: lambda left, right: left is not None and right is not None and left <= right,
    ast.Gt: lambda left, right: left is not None and right is not None and left > right,
    ast.GtE: lambda left, right: left is not None and right is not None and left >= right,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
    ast.Not: operator.not_,
    ast.USub: operator.neg,
}
_PLACEHOLDER = re.compile(r"\{([\w.]+)\}")


def evaluate(source: str, scope: Scope) -> Any:
    """The value of an expression. Drawing functions need a generator under `rng` in the scope.

    Raises InvalidInput for a name that is not in the scope, and for values that do not go together.
    """
    try:
        return compiled(source)(scope)
    except KeyError as error:
        raise InvalidInput(
            f"An expression may use only names in its scope; {source!r} uses {error.args[0]!r}, there are {', '.join(sorted(scope))}. "
            "Correct the name in the world's declaration."
        ) from error
    except TypeError as error:
        raise InvalidInput(
            f"An expression's values must go together; in {source!r} {error}. Correct it in the world's declaration."
        ) from error


def resolve(value: Any, scope: Scope) -> Any:
    """A declared value: text that begins with `=` is an expression, everything else stands for itself, at any depth."""
    if isinstance(value, str):
        return evaluate(value[1:], scope) if value.startswith("=") else value
    if isinstance(value, dict):
        return {name: resolve(item, scope) for name, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    return value


def fill(template: str, scope: Scope) -> str:
    """The template with each `{row.column}` replaced by its value."""
    return _PLACEHOLDER.sub(lambda match: str(evaluate(match[1], scope)), template) if "{" in template else template


def mistype(words: str, rng: np.random.Generator) -> str:
    """`words` with two neighbouring letters of the first half swapped, or one doubled where they are equal."""
    place = int(rng.integers(max(1, len(words) // 2)))
    pair = words[place : place + 2]
    return words[:place] + (pair[::-1] if pair != pair[::-1] else pair + pair[-1]) + words[place + 2 :]


@lru_cache(maxsize=4096)
def compiled(source: str) -> Evaluated:
    """The expression as a function of its scope. Raises InvalidInput for anything the language does not have."""
    try:
        return _compile(ast.parse(source, mode="eval").body, source)
    except SyntaxError as error:
        raise InvalidInput(f"An expression must be one whole formula; {source!r} is not: {error.msg}. Correct its syntax.") from error


def _compile(node: ast.AST, source: str) -> Evaluated:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return lambda scope: value
        case ast.Name(id=name):
            return lambda scope: scope[name]
        case ast.Attribute(value=row, attr=column):
            inner = _compile(row, source)
            return lambda scope: _column(inner(scope), column)
        case ast.List(elts=items):
            parts = [_compile(item, source) for item in items]
            return lambda scope: [part(scope) for part in parts]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _OPERATORS:
            apply, inner = _OPERATORS[type(sign)], _compile(operand, source)
            return lambda scope: apply(inner(scope))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _binary(sign, left, right, source)
        case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in _OPERATORS:
            return _binary(sign, left, right, source)
        case ast.BoolOp(op=sign, values=values):
            parts = [_compile(value, source) for value in values]
            whole = all if isinstance(sign, ast.And) else any
            return lambda scope: whole(part(scope) for part in parts)
        case ast.IfExp(test=test, body=body, orelse=otherwise):
            condition, yes, no = (_compile(part, source) for part in (test, body, otherwise))
            return lambda scope: yes(scope) if condition(scope) else no(scope)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in PURE or name in DRAWING:
            return _call(name, [_compile(argument, source) for argument in arguments])
    raise InvalidInput(
        f"An expression has literals, names, row.column, operators and {', '.join([*PURE, *DRAWING])}; "
        f"{ast.unparse(node)!r} in {source!r} is none of them. Say it with those."
    )


def _binary(sign: ast.AST, left: ast.AST, right: ast.AST, source: str) -> Evaluated:
    apply, first, second = _OPERATORS[type(sign)], _compile(left, source), _compile(right, source)
    return lambda scope: apply(first(scope), second(scope))


def _call(name: str, arguments: list[Evaluated]) -> Evaluated:
    if name in PURE:
        function = PURE[name]
        return lambda scope: function(*(argument(scope) for argument in arguments))
    drawing = DRAWING[name]
    return lambda scope: drawing(scope["rng"], *(argument(scope) for argument in arguments))


def _column(row: Any, column: str) -> Any:
    return None if row is None else row[column]
