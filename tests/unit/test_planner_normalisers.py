"""What stretches of text mean as values, read on Friday, 1 March 2019."""

from collections.abc import Iterator
from datetime import date

import pytest

from agentgym.policies.planner.normalisers import Found, found_values, normalisers, plain_number, register_normaliser

TODAY = date(2019, 3, 1)


def values(text: str, kind: str) -> list[str]:
    return [found.value for found in found_values(text, TODAY) if found.kind == kind]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("on 2019-03-08", "2019-03-08"),
        ("March 8th please", "2019-03-08"),
        ("the 8th of March", "2019-03-08"),
        ("on the 8th", "2019-03-08"),
        ("8th of this month", "2019-03-08"),
        ("3/8 works", "2019-03-08"),
        ("today", "2019-03-01"),
        ("the day after tomorrow", "2019-03-03"),
        ("next Friday", "2019-03-08"),
        ("Tuesday next week", "2019-03-05"),
        ("this Sunday", "2019-03-03"),
        ("in two weeks", "2019-03-15"),
        ("3 days from now", "2019-03-04"),
        ("January 5", "2019-01-05"),
    ],
)
def test_a_date_is_read_from_the_day_of_the_conversation(text: str, day: str) -> None:
    assert values(text, "date") == [day]


def test_a_month_long_past_means_the_next_one() -> None:
    assert [found.value for found in found_values("on January 5", date(2019, 12, 20)) if found.kind == "date"] == ["2020-01-05"]


def test_a_day_that_no_month_has_is_no_date() -> None:
    assert values("February 31st", "date") == []


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("at 18:30", ["18:30"]),
        ("6 pm", ["18:00"]),
        ("half past 6 in the evening", ["18:30"]),
        ("quarter to 7 in the morning", ["06:45"]),
        ("12:15 am", ["00:15"]),
        ("7 o'clock at night", ["19:00"]),
        ("at noon", ["12:00"]),
        ("evening at 6:45", ["18:45"]),
        ("at 6:30", ["06:30", "18:30"]),
    ],
)
def test_a_time_has_24_hours_and_both_readings_when_nothing_tells(text: str, times: list[str]) -> None:
    assert values(text, "time") == times


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("$1,200.00", ["1200"]), ("for three people", ["3"]), ("4.30 stars", ["4.3"]), ("just me", ["1"]), ("us two", ["2"])],
)
def test_a_number_is_written_without_ornaments(text: str, numbers: list[str]) -> None:
    assert values(text, "number") == numbers


def test_an_identifier_keeps_its_case() -> None:
    assert values("Ticket TCK-48213 of sara_doe_496 on the 3rd at 6pm", "identifier") == ["TCK-48213", "sara_doe_496"]


def test_an_email_address_ends_before_the_full_stop() -> None:
    assert values("Write to Ann.Lee@mail.example.net. Thanks", "email") == ["Ann.Lee@mail.example.net"]


def test_the_number_inside_a_date_is_no_amount() -> None:
    assert values("on March 8th for 2", "number") == ["2"]


def test_plain_number_leaves_whole_tens_alone() -> None:
    assert [plain_number(text) for text in ("1,200", "10", "2.50", "3.0")] == ["1200", "10", "2.5", "3"]


def test_a_registered_normaliser_finds_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def dozens(text: str, today: date) -> Iterator[Found]:
        if "dozen" in text:
            yield Found("number", "12", text.index("dozen"), text.index("dozen") + 5)

    monkeypatch.setattr("agentgym.policies.planner.normalisers._NORMALISERS", dict(normalisers()))
    register_normaliser("dozens", dozens)
    assert values("a dozen eggs", "number") == ["12"]
