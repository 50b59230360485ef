"""Entities renamed: the same everywhere in a conversation, and nothing else touched."""

import re
import string

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.scenarios.synthesis.augmentation import why_not
from agentgym.scenarios.synthesis.entities import rename_entities, renaming
from agentgym.scenarios.synthesis.rewriting import replacer
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

TOOL = Tool(name="find_user", parameters={"type": "object", "properties": {"email": {"type": "string"}, "plan": {"enum": ["team2024"]}}})


def conversation(first: str, last: str, number: str) -> Trace:
    """A customer with an address, an account and a certificate, all of which hold their name or a number."""
    email, account, certificate = f"{first}.{last}@example.com".lower(), f"{first}_{last}_{number}".lower(), f"certificate_{number}77"
    find = ToolCall(name="find_user", arguments={"email": email, "plan": "team2024"})
    found = {"name": {"first_name": first, "last_name": last}, "user_id": account, "dob": "1990-04-05", "methods": {certificate: 250}}
    use = ToolCall(name="use", arguments={"user_id": account, "payment": certificate})
    messages = (
        user(f"I am {first} {last}, my mail is {email}."),
        assistant("", find),
        tool_result(find, found),
        assistant(f"Hello {first}, shall I use certificate {number}77 of {account}?"),
        user("Yes, the one from 1990-04-05."),
        assistant("", use),
        tool_result(use, "done"),
    )
    return Trace(conversation_id="c1", messages=messages, tools=(TOOL,))


def renamed(trace: Trace, seed: int = 0) -> Trace:
    return rename_entities(trace, np.random.default_rng(seed))


TRACE = conversation("Mia", "Jansen", "36681")


def test_nothing_of_the_old_names_is_left() -> None:
    text = renamed(TRACE).model_dump_json().lower()
    assert not re.search(r"mia|jansen|36681", text)


def test_calls_results_and_words_still_agree() -> None:
    trace = renamed(TRACE)
    find, use = (call for message in trace.messages for call in message.tool_calls)
    found = trace.messages[2].result
    assert isinstance(found, dict)
    assert f"my mail is {find.arguments['email']}." in trace.messages[0].content
    assert use.arguments["user_id"] == found["user_id"]
    assert use.arguments["payment"] in found["methods"]  # type: ignore[operator]
    name = found["name"]
    assert isinstance(name, dict)
    assert trace.messages[0].content.startswith(f"I am {name['first_name']} {name['last_name']},")
    assert str(find.arguments["email"]).partition("@")[0] == f"{name['first_name']}.{name['last_name']}".lower()
    assert why_not(TRACE, trace) == ""


def test_dates_and_closed_lists_stay() -> None:
    trace = renamed(TRACE)
    assert trace.messages[1].tool_calls[0].arguments["plan"] == "team2024"
    assert "1990-04-05" in trace.messages[4].content


def test_a_number_of_an_identifier_is_replaced_where_it_stands_alone() -> None:
    trace = renamed(TRACE)
    payment = str(trace.messages[5].tool_calls[0].arguments["payment"])
    assert f"certificate {payment.removeprefix('certificate_')} of" in trace.messages[3].content


def test_a_name_that_is_a_word_is_replaced_only_as_a_name() -> None:
    trace = conversation("Will", "Jansen", "36681")
    messages = (*trace.messages, user("I will wait, said Will."))
    new = renamed(trace.model_copy(update={"messages": messages}))
    assert new.messages[-1].content.startswith("I will wait, said ")
    assert "Will" not in new.messages[-1].content


def test_a_conversation_without_entities_stays_as_it_is() -> None:
    trace = Trace(conversation_id="c1", messages=(user("A hotel in Rome on 2019-03-08 at 6pm for 2."), assistant("Gladly.")))
    assert renamed(trace) == trace


NAMES = st.text(string.ascii_lowercase, min_size=3, max_size=8).map(str.capitalize)


@settings(max_examples=60, deadline=None)
@given(first=NAMES, last=NAMES, number=st.from_regex(r"[1-9]\d{3,5}", fullmatch=True), seed=st.integers(0, 1000))
def test_equal_stays_equal_and_different_different(first: str, last: str, number: str, seed: int) -> None:
    trace = conversation(first, last, number)
    new = renamed(trace, seed)
    assert new == renamed(trace, seed)
    mapping = renaming(trace, np.random.default_rng(seed))
    assert len({name.casefold() for name in mapping.values()}) == len({name.casefold() for name in mapping})
    assert why_not(trace, new) == ""


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text("abcXYZ", min_size=1, max_size=4), st.text("mno", min_size=1, max_size=4), max_size=6),
    st.text("abcXYZ ,.", max_size=40),
)
def test_replacements_are_made_at_once_so_that_none_is_replaced_again(replacements: dict[str, str], text: str) -> None:
    replacements = {old: new for old, new in replacements.items() if old == old.lower()}
    tokens = re.split(r"(\W+)", text)
    expected = "".join(replacements.get(token, token) if token == token.lower() else token for token in tokens)
    lowered = replacer(replacements, exact_case=frozenset(replacements))(text)
    assert lowered == expected
