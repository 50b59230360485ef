"""The words a choice may depend on: what was said last and first, what the latest results say, what was done so far."""

from collections.abc import Callable, Iterator
from itertools import pairwise

from agentgym.policies.planner.state import State
from agentgym.policies.planner.words import STOP_WORDS, Ids, name_words, word_ids

_USER_WORDS, _AGENT_WORDS, _OPENING_WORDS, _TOOLS_REMEMBERED = 30, 25, 24, 4


def said_context(state: State) -> Ids:
    """What was said last, for the choice of what to do next, shape (C,)."""
    return _kept(state, "said", lambda: list(_turn_words(state)))


def done_context(state: State) -> Ids:
    """What was said first, done and found out, for the choice of what to do next, shape (C,)."""
    return _kept(state, "done", lambda: [*_progress(state), *_opening(state)])


def _turn_words(state: State) -> Iterator[str]:
    """What the customer and the agent said last; between calls only the telling words of the customer still matter."""
    if state.last_role == "tool":
        yield from (f"then:{word}" for word in _last_words(state))
    else:
        yield from (*_user_words(state), *_agent_words(state))


def brief_context(state: State) -> Ids:
    """For the choice among the values a schema lists, shape (C,)."""
    return _kept(state, "brief context", lambda: [*(f"u:{word}" for word in _last_words(state)), *_progress(state), *_opening(state)])


def _kept(state: State, name: str, make: Callable[[], list[str]]) -> Ids:
    known = state.memo.get(name)
    if known is None:
        known = state.memo[name] = word_ids(["any", *make()])
    return known  # type: ignore[return-value]


def _last_words(state: State) -> list[str]:
    return _telling(state, state.said.last_user)[:_USER_WORDS]


def _telling(state: State, text: str) -> list[str]:
    return [word for word in state.scene.vocabulary.read(text) if word not in STOP_WORDS]


def _user_words(state: State) -> Iterator[str]:
    words = state.scene.vocabulary.read(state.said.last_user)[:_USER_WORDS]
    yield from (f"u:{word}" for word in words)
    yield from (f"u:{first} {second}" for first, second in pairwise(words))
    if "?" in state.said.last_user:
        yield "u:?"


def _agent_words(state: State) -> Iterator[str]:
    words = state.scene.vocabulary.read(state.said.last_agent)[-_AGENT_WORDS:]
    yield from (f"a:{word}" for word in words)
    yield from (f"a:{first} {second}" for first, second in pairwise(words[-8:]))
    if "?" in state.said.last_agent:
        yield "a:?"


def _opening(state: State) -> Iterator[str]:
    """The customer's first words, once they are no longer their last."""
    if state.said.turns > 1 or state.calls:
        yield from (f"f:{word}" for word in _telling(state, state.said.first_user)[:_OPENING_WORDS])


def _progress(state: State) -> Iterator[str]:
    """Calls made and how they ended, and what the latest results said."""
    yield f"after:{state.last_role}"
    if state.calls:
        latest = state.calls[-1]
        yield f"last:{'error' if latest.is_error else 'fine'}"
        yield from (f"last:{word}" for word in name_words(latest.name.rpartition(".")[2]))
    yield from dict.fromkeys(f"done:{call.name}:{'error' if call.is_error else 'fine'}" for call in state.calls)
    for tool in list(state.found.words)[-_TOOLS_REMEMBERED:]:
        yield from (f"r:{word}" for word in state.found.words[tool])
