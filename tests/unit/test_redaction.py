"""What counts as personal data, what stands in for it, and that equal values stay equal."""

import re
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentgym.errors import InvalidInput
from agentgym.policies.planner.normalisers import EMAIL, found_values
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.registry import load_world
from agentgym.tools import Tool
from agentgym.traces.importers import Record, RejectedLine
from agentgym.traces.names import installed_name_finder
from agentgym.traces.personal_data import passes_luhn, passes_mod_97
from agentgym.traces.redaction import Redactor

SECRET = b"a secret for tests, 32 bytes long"
PERSONAL = {
    "email": ["ann.lee@example.com", "Bob+shop@mail.example.co.uk", "cleo%40mail.example.com"],
    "phone": [
        "(415) 555-2671",
        "415-555-2671",
        "+1 702-638-1800",
        "+49 151 23456789",
        "+33 1 83 96 88 88",
        "020 7946 0958",
        "079 123 45 67",
        "044/668 18 00",
        "0151 23456789",
    ],
    "card": [
        "4111 1111 1111 1111",
        "5500-0000-0000-0004",
        "378282246310005",
        "3782 822463 10005",
        "4111.1111.1111.1111",
        "4111  1111  1111  1111",
    ],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "fr14 2004 1010 0505 0001 3m02 606"],
    "address": ["123 Main Street", "1720 East 16th Ave", "20-28 Bolsover Road", "Lindenstraße 12", "P.O. Box 771"],
    "key": [
        "sk-abcDEF1234567890abcd",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    ],
}
VALUES = [(kind, value) for kind, values in PERSONAL.items() for value in values]
ORDINARY = [
    "Order ORD-1234 of 2019-03-08 cost $1,415.99 at 18:30.",
    "Ticket TCK-48213, payment PAY-415555, reservation HAT170, certificate_7504069",
    "order 4155552671, order number 112-1234567-1234567, tracking 4111111111111112",
    "between 2024-05-15T15:00:00-05:00 and 2024-05-15 15:00, or 10.12.2024 14:30",
    "I have 3 seats, 2 bags, 1,200.00 in credit and 50% off",
    "My password is wrong and the reset token expired.",
    "I saw it at 06 12 today in 12 Monkeys",
    "DE12 3456 7890 1234 5678 90 fails its checksum",
]


def conversation(words: str = "Hello", arguments: Any = None, result: Any = None, **fields: Any) -> Record:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": words},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "x", "name": "look_up", "arguments": arguments or {}}]},
        {"role": "tool", "content": "", "name": "look_up", "result": result},
    ]
    return Record(source="log.jsonl", line=1, fields={"conversation_id": "c1", "tags": {}, **fields, "messages": messages})


def parts(record: Record) -> tuple[Any, Any, Any]:
    """The words, the arguments and the result."""
    asked, called, told = record.messages
    return asked["content"], called["tool_calls"][0]["arguments"], told["result"]


@pytest.mark.parametrize(("kind", "value"), VALUES)
def test_personal_data_is_replaced_wherever_it_stands_in_a_sentence(kind: str, value: str) -> None:
    redactor = Redactor(SECRET)
    redacted = redactor.redact_text(f"It is {value}, as I said.")
    assert value not in redacted
    assert re.fullmatch(r"It is .+, as I said\.", redacted)
    assert redactor.counts == {kind: 1}


@pytest.mark.parametrize("words", ORDINARY)
def test_what_only_looks_like_it_stays(words: str) -> None:
    redactor = Redactor(SECRET)
    assert redactor.redact(conversation(words, {"text": words}, [words, 4155552671, 20240515])) == conversation(
        words, {"text": words}, [words, 4155552671, 20240515]
    )
    assert not redactor.counts


@pytest.mark.parametrize(("kind", "value"), VALUES)
def test_equal_values_have_one_placeholder_in_words_arguments_and_nested_results(kind: str, value: str) -> None:
    redactor = Redactor(SECRET)
    words, arguments, result = parts(redactor.redact(conversation(f"Use {value} please", {"x": value}, {"rows": [{"y": [value]}]})))
    placeholder = arguments["x"]
    assert words == f"Use {placeholder} please"
    assert result == {"rows": [{"y": [placeholder]}]}
    assert redactor.redact_text(value) == placeholder == Redactor(SECRET).redact_text(value)
    assert placeholder != value


@pytest.mark.parametrize(("kind", "value"), VALUES)
def test_another_secret_gives_other_placeholders(kind: str, value: str) -> None:
    assert Redactor(SECRET).redact_text(value) != Redactor(SECRET[::-1]).redact_text(value)


def test_spelling_does_not_make_another_value() -> None:
    redact = Redactor(SECRET).redact_text
    assert redact("Ann@Example.com") == redact("ann@example.com")
    assert redact("4111 1111 1111 1111").replace(" ", "") == redact("4111111111111111")
    assert redact("DE89 3704 0044 0532 0130 00").replace(" ", "") == redact("DE89370400440532013000")
    assert redact("+1 415-555-2671") == "+1 " + redact("415-555-2671")
    assert redact("123 Main Street") == redact("123  main Street".replace("main", "Main"))


def test_placeholders_keep_the_form_and_belong_to_nobody() -> None:
    redact = Redactor(SECRET).redact_text
    assert re.fullmatch(r"person-[0-9a-f]{10}@redacted\.example", redact("ann@example.com"))
    assert re.fullmatch(r"\(100\) \d{3}-\d{4}", redact("(415) 555-2671"))
    assert re.fullmatch(r"\+99 9\d\d \d{8}", redact("+49 151 23456789"))
    assert re.fullmatch(r"DE00( \d{4}){4} \d\d", redact("DE89 3704 0044 0532 0130 00"))
    assert re.fullmatch(r"\d{4} Redacted-[0-9a-f]{10} Street", redact("123 Main Street"))
    assert re.fullmatch(r"key-[0-9a-f]{16}", redact("AKIAIOSFODNN7EXAMPLE"))


def test_the_planner_finds_the_placeholder_of_an_email() -> None:
    words = Redactor(SECRET).redact_text("It is ann@example.com.")
    (found,) = [value for value in found_values(words, date(2025, 1, 1)) if value.kind == EMAIL]
    assert found.value == Redactor(SECRET).redact_text("ann@example.com")


def test_card_and_account_placeholders_fail_their_checksums() -> None:
    """One random number of ten passes Luhn's, one of 97 passes mod 97: a few hundred would show it."""
    rng, redact = np.random.default_rng(0), Redactor(SECRET).redact_text
    for _ in range(300):
        number = "4" + "".join(map(str, rng.integers(10, size=14)))
        card = next(number + str(digit) for digit in range(10) if passes_luhn(number + str(digit)))
        account = "".join(map(str, rng.integers(10, size=18)))
        iban = next(f"DE{check:02d}{account}" for check in range(2, 99) if passes_mod_97(f"DE{check:02d}{account}"))
        assert re.fullmatch(r"\d{16}", redact(card))
        assert not passes_luhn(redact(card))
        assert re.fullmatch(r"DE\d{20}", redact(iban))
        assert not passes_mod_97(redact(iban))


def test_checksums_are_the_published_ones() -> None:
    assert passes_luhn("79927398713")  # the example of ISO/IEC 7812-1
    assert not passes_luhn("79927398710")
    assert passes_mod_97("GB82WEST12345698765432")  # the example of ISO 13616
    assert not passes_mod_97("GB82WEST12345698765423")


@pytest.mark.parametrize("letter", ["\u212a", "\u0130", "\u0131", "\u017f"])
def test_letters_that_pass_for_others_where_case_is_ignored_break_nothing(letter: str) -> None:
    """The sign for kelvin is no K to a checksum, though it is one to a pattern that ignores case."""
    number, redact = f"GB82 WEST 1234 5698 7654 3{letter}", Redactor(SECRET).redact_text
    assert redact(redact(number)) == redact(number)
    assert redact(f"pay to {number}, please").endswith(", please")


FILLERS = [*ORDINARY, "and", "card", "my phone is", "my password is", "token:", "IBAN", "12/27", "call me at", "Hunter2!x", "4155552671"]
TEXTS = st.lists(st.sampled_from([*FILLERS, *(value for _, value in VALUES)]), max_size=8).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(words=TEXTS, said=TEXTS, number=st.integers(0, 10**16))
@example(words="Lindenstraße 12 (415) 555-2671", said="", number=0)
@example(words="my phone is 12/27 (415) 555-2671", said="", number=0)
def test_redacting_what_was_redacted_changes_nothing(words: str, said: str, number: int) -> None:
    """A number before a telephone number once hid it, until the address that ended in it was a placeholder; or was taken for part of it."""
    once = Redactor(SECRET).redact(
        conversation(words, {"note": said, "phone": said, "password": words}, [number, said], customer_id="Ann", tags={"mail": said})
    )
    again = Redactor(SECRET)
    assert again.redact(once) == once
    assert not again.counts


@pytest.mark.parametrize(
    ("words", "secret"),
    [
        ("My password is hunter2!, do you hear", "hunter2!"),
        ("api_key=a8F9x22kLmQ0", "a8F9x22kLmQ0"),
        ("Authorization: Bearer a8F9.x22kLm-Q0", "a8F9.x22kLm-Q0"),
        ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("secretAccessKey: wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI/K7MDENG"),
        ("the token `Zx81-spectrum` was refused", "Zx81-spectrum"),
    ],
)
def test_a_secret_told_by_the_word_before_it_is_replaced_everywhere_in_the_conversation(words: str, secret: str) -> None:
    redacted, arguments, result = parts(
        Redactor(SECRET).redact(conversation(words, {"value": secret, "token": secret}, {"echo": [f"got {secret}."]}))
    )
    assert secret not in redacted
    assert arguments["value"] in redacted
    assert result == {"echo": [f"got {arguments['value']}."]}
    assert re.fullmatch(r"key-[0-9a-f]{16}!?", arguments["value"])
    assert arguments["token"] == arguments["value"]


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", "correcthorsebattery"),
        ("newPassword", "yellow"),
        ("passwd", "12345678"),
        ("client_secret", "zzz999"),
        ("api_key", "abcdefabcdefabcdef"),
        ("x-api-key", "open"),
        ("aws_secret_access_key", "plain"),
        ("authorization", "sesame"),
    ],
)
def test_a_word_in_a_field_for_secrets_is_replaced_there_and_nowhere_else(name: str, secret: str) -> None:
    redactor = Redactor(SECRET)
    once = redactor.redact(conversation(f"Tell {secret} apart.", {name: secret}, {"rows": [secret, {name: [secret]}]}))
    words, arguments, result = parts(once)
    assert re.fullmatch(r"key-[0-9a-f]{16}", arguments[name])
    assert (words, result) == (f"Tell {secret} apart.", {"rows": [secret, {name: [arguments[name]]}]})
    assert redactor.counts == {"key": 2}
    assert Redactor(SECRET).redact(once) == once


@pytest.mark.parametrize(
    "field",
    [
        {"token": "correcthorsebattery"},
        {"password_reset_token": "pending"},
        {"password": ""},
        {"has_password": "yes"},
        {"secret": "False"},
        {"password": "********"},
        {"password": "it is wrong"},
        {"password": 12345678},
        {"secret": "key-0123456789abcdef"},
    ],
)
def test_what_a_field_for_secrets_holds_beside_them_stays(field: dict[str, Any]) -> None:
    redactor = Redactor(SECRET)
    assert redactor.redact(conversation("Hello", field)) == conversation("Hello", field)
    assert not redactor.counts


def test_a_name_of_several_words_for_secrets_stays_whole() -> None:
    redact = Redactor(SECRET).redact_text
    key = redact("api_key=a8F9x22kLmQ0").removeprefix("api_key=")
    for name in ("aws_secret_access_key", "secret_key", "api_key_secret", "secret access key", "access_token", "secret_token"):
        assert redact(f"{name}=a8F9x22kLmQ0") == f"{name}={key}"
    assert redact("secret_key=abc") == "secret_key=abc"


def test_an_encoded_address_is_the_same_one_and_stays_encoded() -> None:
    redact = Redactor(SECRET).redact_text
    email = redact("cleo@mail.example.com").replace("@", "%40")
    assert redact("https://shop.example/?mail=Cleo%40mail.example.com&n=1") == f"https://shop.example/?mail={email}&n=1"


def test_a_bare_number_is_a_phone_number_where_the_conversation_says_so() -> None:
    redactor = Redactor(SECRET)
    words, arguments, result = parts(
        redactor.redact(conversation("My number: 4155552671", {"phone": "4155552671"}, {"contact": {"cell_phone": 4155552671}, "n": 7}))
    )
    assert words == f"My number: {arguments['phone']}"
    assert result == {"contact": {"cell_phone": int(arguments["phone"])}, "n": 7}
    assert redactor.counts == {"phone": 3}


def test_an_address_is_told_by_its_field_and_then_by_itself() -> None:
    words, arguments, _ = parts(Redactor(SECRET).redact(conversation("To 1433 taraval, please.", {"address": "1433 Taraval"})))
    assert words == f"To {arguments['address']}, please."


def test_a_card_number_written_as_a_number_stays_a_number() -> None:
    _, arguments, result = parts(Redactor(SECRET).redact(conversation("", {"card": "4111111111111111"}, [4111111111111111, True, 1.5])))
    assert result == [int(arguments["card"]), True, 1.5]


def test_names_of_fields_and_identifiers_stay() -> None:
    record = conversation("", {"ann@example.com": 1}, {"phone_id": "PH-4155552671", "token_count": "4155552671"}, agent_version="v1")
    assert Redactor(SECRET).redact(record) == record


def test_ids_and_tags_are_redacted_and_the_customer_gets_a_pseudonym() -> None:
    fields = {"customer_id": "CUS-1", "tags": {"queue": "billing", "from": "ann@example.com"}, "conversation_id": "mail/ann@example.com"}
    redactor = Redactor(SECRET)
    first, second = (redactor.redact(conversation(**fields, line=line)).fields for line in (1, 2))  # type: ignore[arg-type]
    other = redactor.redact(conversation(customer_id="CUS-2")).fields
    email = redactor.redact_text("ann@example.com")
    assert re.fullmatch(r"customer-[0-9a-f]{16}", first["customer_id"])
    assert first["customer_id"] == second["customer_id"] != other["customer_id"]
    assert (first["tags"], first["conversation_id"]) == ({"queue": "billing", "from": email}, f"mail/{email}")


def test_what_a_tool_declares_is_not_a_customers() -> None:
    schema = {"properties": {"to": {"enum": ["billing@example.com", "sales@example.com"]}}}
    record = conversation("To billing@example.com", {"to": "billing@example.com"})
    declared = Record(source="log.jsonl", line=1, fields=record.fields, tools=(Tool(name="send", parameters=schema),))
    assert Redactor(SECRET).redact(declared) == declared
    assert Redactor(SECRET).redact(record) != record


def test_a_line_that_was_rejected_before_is_redacted_too() -> None:
    line = RejectedLine(source="log.jsonl", line=3, conversation_id="ann@example.com", reasons=("What is 'ann@example.com'?",))
    email = Redactor(SECRET).redact_text("ann@example.com")
    redacted = Redactor(SECRET).redact_rejected(line)
    assert (redacted.conversation_id, redacted.reasons, redacted.line) == (email, (f"What is '{email}'?",), 3)


def test_conversations_of_nobody_stay() -> None:
    record = conversation("I am ann@example.com", customer_id="CUS-1")
    assert Redactor(SECRET, is_made_up=lambda each: each.fields["customer_id"] == "CUS-1").redact(record) is record


def test_names_are_redacted_where_somebody_finds_them() -> None:
    redactor = Redactor(SECRET, find_names=lambda text: (match.span() for match in re.finditer("Ann Lee", text)))
    words, arguments, _ = parts(redactor.redact(conversation("I am Ann Lee, ann@example.com", {"name": "ann lee"})))
    assert re.fullmatch(r"I am (Person-[0-9a-f]{10}), person-[0-9a-f]{10}@redacted\.example", words)
    assert arguments["name"] in words


def test_names_need_a_package_that_finds_them() -> None:
    with pytest.raises(InvalidInput, match=r"none offers an entry point in 'agentgym\.name_finders'"):
        installed_name_finder()


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 32 bytes; got 5"):
        Redactor(b"short")


@pytest.mark.parametrize("world", ["customer_support", "lookup"])
def test_what_an_agent_copies_is_still_there_to_be_copied(world: str) -> None:
    """Every argument that stood in the customer's words, or in an earlier result, stands there after redaction."""
    scenario, redactor = load_world(world), Redactor(SECRET)
    emails = 0
    for number, trace in enumerate(write_logs(scenario, scenario.legacy_agent(), 150, 3)):
        before = Record(source="log.jsonl", line=number, fields=trace.model_dump(mode="json", exclude={"tools"}), tools=trace.tools)
        after = redactor.redact(before)
        assert isinstance(after.to_trace(), type(trace))
        for (old, old_said), (new, new_said) in zip(_arguments(before), _arguments(after), strict=True):
            assert (old in old_said) == (new in new_said)
            emails += "@redacted.example" in new
    assert emails > 50 or world == "lookup"
    assert redactor.counts["customer_id"] == 150
    assert set(redactor.counts) <= {"customer_id", "email"}


def _arguments(record: Record) -> list[tuple[str, str]]:
    """Each argument as text, with all that was said and answered before its call."""
    said, found = "", []
    for message in record.messages:
        for call in message["tool_calls"]:
            found += [(str(value), said) for value in call["arguments"].values()]
        said += f"\n{message['content']} {message['result']}"
    return found
