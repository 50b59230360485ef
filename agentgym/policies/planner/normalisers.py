"""Normalisers: what a stretch of text means as a value.

A normaliser finds values of one kind in a text and writes them as a schema would: a date as 2019-03-08, a time as 18:30, an amount as 12.5.
They read relative dates from the day the conversation happens on. `register_normaliser` adds one; the default set covers English.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import NamedTuple

DATE, TIME, NUMBER, EMAIL, IDENTIFIER, TEXT = "date", "time", "number", "email", "identifier", "text"


class Found(NamedTuple):
    """A value found in a text: its kind, the value as a schema would have it, and where it stands."""

    kind: str
    value: str
    start: int
    end: int


Normaliser = Callable[[str, date], Iterator[Found]]

_NORMALISERS: dict[str, Normaliser] = {}


def register_normaliser(name: str, normaliser: Normaliser) -> None:
    """Adds a normaliser, or replaces the one of that name; its text argument is lower-case."""
    _NORMALISERS[name] = normaliser


def normalisers() -> tuple[tuple[str, Normaliser], ...]:
    """The normalisers in force, by name."""
    return tuple(_NORMALISERS.items())


def found_values(text: str, today: date) -> list[Found]:
    """Every value that a normaliser finds; where stretches overlap, the one found first, with all its readings."""
    lower, taken, found = text.lower(), bytearray(len(text) + 1), list[Found]()
    for _, normaliser in normalisers():
        for value in normaliser(lower, today):
            is_other_reading = bool(found) and found[-1][2:] == value[2:]
            if is_other_reading or not any(taken[value.start : value.end]):
                is_verbatim = value.value == lower[value.start : value.end]
                found.append(value._replace(value=text[value.start : value.end]) if is_verbatim else value)
                taken[value.start : value.end] = b"\1" * (value.end - value.start)
    return found


# --- addresses and identifiers ---

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_IDENTIFIER = re.compile(r"(?<![\w@./-])(?=[\w-]*\d)(?=[\w-]*[a-z_])[a-z0-9]+(?:[_-][a-z0-9]+)*(?![\w@])")
_ORDINAL_OR_CLOCK = re.compile(r"\d+(?:st|nd|rd|th|am|pm|a|p|k|hr|hrs|min|mins|ish|s)$")


def emails(text: str, today: date) -> Iterator[Found]:
    for match in _EMAIL.finditer(text):
        yield Found(EMAIL, match[0].rstrip("."), match.start(), match.end())


def identifiers(text: str, today: date) -> Iterator[Found]:
    """Tokens that mix letters and digits: TCK-48213, sara_doe_496, u1024."""
    for match in _IDENTIFIER.finditer(text):
        if not _ORDINAL_OR_CLOCK.fullmatch(match[0]):
            yield Found(IDENTIFIER, match[0], match.start(), match.end())


# --- dates ---


def _numbered(names: str, *, start: int) -> dict[str, int]:
    """A number for each name: lines are counted from `start`, the names of a line mean the same."""
    lines = [line.split() for line in names.strip().splitlines()]
    return {name: number for number, line in enumerate(lines, start=start) for name in line}


_MONTHS = _numbered(
    "jan january\nfeb february\nmar march\napr april\nmay\njun june\njul july\naug august\n"
    "sep sept september\noct october\nnov november\ndec december",
    start=1,
)
_WEEKDAYS = _numbered("monday mon\ntuesday tue tues\nwednesday wed\nthursday thu thur thurs\nfriday fri\nsaturday sat\nsunday sun", start=0)
_SMALL_NUMBERS = _numbered(
    "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\nten\neleven\ntwelve\n"
    "thirteen\nfourteen\nfifteen\nsixteen\nseventeen\neighteen\nnineteen\ntwenty",
    start=0,
)
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_WEEKDAY = "|".join(sorted((day for day in _WEEKDAYS if len(day) > 4 or day == "friday"), key=len, reverse=True))
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_COUNT = r"(\d{1,3}|an?|" + "|".join(_SMALL_NUMBERS) + ")"
_ISO_DATE = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")
_SLASH_DATE = re.compile(r"\b(\d{1,2})/(\d{1,2})(?:/(\d{4}))?\b")
_MONTH_DAY = re.compile(rf"\b({_MONTH})\.?,? (?:the )?{_DAY}\b(?:,? (\d{{4}}))?(?!:)")
_DAY_MONTH = re.compile(rf"\b{_DAY} (?:of )?({_MONTH})\b(?:,? (\d{{4}}))?")
_DAY_OF_MONTH = re.compile(r"\b(\d{1,2})(?:st|nd|rd|th)\b(?: of (this|next) month)?(?! (?:street|avenue|ave|st|floor|century))")
_RELATIVE_WEEKDAY = re.compile(rf"\b(?:(this coming|coming|this|next|on) )?({_WEEKDAY})\b(?:,? (?:of )?(next|this) week)?")
_RELATIVE_DAY = re.compile(r"\b(?:(day after tomorrow|day before yesterday)|(today|tonight|tomorrow|yesterday))\b")
_IN_DAYS = re.compile(rf"\b(?:in )?{_COUNT} (day|week)s?(?: from (?:now|today)| later)\b|\bin {_COUNT} (day|week)s?\b")


def dates(text: str, today: date) -> Iterator[Found]:
    """Calendar dates and days counted from `today`; a day without a month or year is the next one to come."""
    impossible: list[tuple[int, int]] = []
    for pattern, read in _DATE_READERS:
        for match in pattern.finditer(text):
            day = read(match, today)
            if day is None:
                impossible.append(match.span())
            elif not any(start < match.end() and match.start() < end for start, end in impossible):
                yield Found(DATE, day.isoformat(), match.start(), match.end())


def _iso_date(match: re.Match[str], today: date) -> date | None:
    return _day(int(match[1]), int(match[2]), int(match[3]))


def _slash_date(match: re.Match[str], today: date) -> date | None:
    month, day = int(match[1]), int(match[2])
    if month > 12:
        month, day = day, month
    return _coming(month, day, match[3], today)


def _month_day(match: re.Match[str], today: date) -> date | None:
    return _coming(_MONTHS[match[1]], int(match[2]), match[3], today)


def _day_month(match: re.Match[str], today: date) -> date | None:
    return _coming(_MONTHS[match[2]], int(match[1]), match[3], today)


def _day_of_month(match: re.Match[str], today: date) -> date | None:
    day, is_next = int(match[1]), match[2] == "next" or (match[2] is None and int(match[1]) < today.day)
    year, month = (today.year + today.month // 12, today.month % 12 + 1) if is_next else (today.year, today.month)
    return _day(year, month, day)


def _relative_weekday(match: re.Match[str], today: date) -> date | None:
    ahead = (_WEEKDAYS[match[2]] - today.weekday()) % 7
    if match[3] == "next":
        return today + timedelta(days=7 - today.weekday() + _WEEKDAYS[match[2]])
    if match[1] == "next":
        return today + timedelta(days=ahead or 7)
    return today + timedelta(days=ahead)


def _relative_day(match: re.Match[str], today: date) -> date:
    phrase = match[1] or match[2]
    days = {"day after tomorrow": 2, "day before yesterday": -2, "tomorrow": 1, "yesterday": -1}.get(phrase, 0)
    return today + timedelta(days=days)


def _in_days(match: re.Match[str], today: date) -> date:
    count, unit = (match[1], match[2]) if match[1] else (match[3], match[4])
    days = int(count) if count.isdigit() else _SMALL_NUMBERS.get(count, 1)
    return today + timedelta(days=days * (7 if unit == "week" else 1))


def _coming(month: int, day: int, year: str | None, today: date) -> date | None:
    """That day of the year given; without a year, of the year in which it is nearest ahead, or within the last two months."""
    if year is not None:
        return _day(int(year), month, day)
    candidate = _day(today.year, month, day)
    if candidate is not None and (today - candidate).days > 60:
        return _day(today.year + 1, month, day)
    return candidate


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


_DATE_READERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], date], date | None]], ...] = (
    (_ISO_DATE, _iso_date),
    (_SLASH_DATE, _slash_date),
    (_MONTH_DAY, _month_day),
    (_DAY_MONTH, _day_month),
    (_DAY_OF_MONTH, _day_of_month),
    (_IN_DAYS, _in_days),
    (_RELATIVE_WEEKDAY, _relative_weekday),
    (_RELATIVE_DAY, _relative_day),
)


# --- times ---

_HOUR = r"(\d{1,2}|" + "|".join(list(_SMALL_NUMBERS)[1:13]) + ")"
_PART_OF_DAY = (
    r"(?:,? ?(?:o'?\"?clock)?,?(?: ?sharp)? ?(?:in the |at |this |tomorrow )?(a\.?m\b\.?|p\.?m\b\.?|morning|noon|afternoon|evening|night))?"
)
_CLOCK = re.compile(rf"(?<![\d:/.-])(\d{{1,2}}):(\d\d)(?!\d){_PART_OF_DAY}")
_HALF_OR_QUARTER = re.compile(rf"\b(half|quarter|\d{{1,2}}) ?(?:minutes? )?(past|after|to|till|before) {_HOUR}\b{_PART_OF_DAY}")
_FULL_HOUR = re.compile(
    rf"(?<![\d:/.$-])\b{_HOUR} ?(?:o'?\"?clock\b|(?=a\.?m\b|p\.?m\b|in the (?:morning|afternoon|evening)|at night|at noon)){_PART_OF_DAY}"
)
_THIRTY = re.compile(rf"\b{_HOUR} (?:thirty|fifteen)\b{_PART_OF_DAY}")
_NAMED_TIME = re.compile(r"(?<!after)\b(noon|midday|midnight)\b")
_BEFORE = re.compile(r"\b(morning|afternoon|evening|night)(?: (?:at|around|by|about|,))+ $")


def times(text: str, today: date) -> Iterator[Found]:
    """Times of the day as HH:MM; an hour up to 12 without a word for the part of the day is read both ways."""
    for match in _HALF_OR_QUARTER.finditer(text):
        yield from _time(match, _minutes_around(match), match[4], text)
    for match in _CLOCK.finditer(text):
        yield from _time(match, int(match[1]) * 60 + int(match[2]), match[3], text)
    for match in _THIRTY.finditer(text):
        yield from _time(match, _hour(match[1]) * 60 + (30 if "thirty" in match[0] else 15), match[2], text)
    for match in _FULL_HOUR.finditer(text):
        yield from _time(match, _hour(match[1]) * 60, match[2], text)
    for match in _NAMED_TIME.finditer(text):
        yield Found(TIME, "00:00" if match[1] == "midnight" else "12:00", match.start(), match.end())


def _minutes_around(match: re.Match[str]) -> int:
    minutes = {"half": 30, "quarter": 15}.get(match[1]) or int(match[1])
    return _hour(match[3]) * 60 + (minutes if match[2] in ("past", "after") else -minutes)


def _hour(text: str) -> int:
    return int(text) if text.isdigit() else _SMALL_NUMBERS[text]


def _time(match: re.Match[str], minutes: int, part_of_day: str | None, text: str) -> Iterator[Found]:
    before = _BEFORE.search(text, max(0, match.start() - 24), match.start())
    part = part_of_day or (before[1] if before else "")
    is_later = part.startswith("p") or part in ("afternoon", "evening", "night", "noon")
    if is_later and minutes < 12 * 60:
        minutes += 12 * 60
    elif part.startswith(("a.", "am", "morning")) and minutes >= 12 * 60:
        minutes -= 12 * 60
    readings = [minutes] if part or minutes >= 13 * 60 else [minutes, (minutes + 12 * 60) % (24 * 60)]
    for minute in readings:
        if 0 <= minute < 24 * 60:
            yield Found(TIME, f"{minute // 60:02d}:{minute % 60:02d}", match.start(), match.end())


# --- numbers ---

_NUMBER = re.compile(r"(?<![\w.@#-])[$€£]?(\d[\d,]*(?:\.\d+)?)(?![\w@])")
_NUMBER_WORD = re.compile(r"\b(" + "|".join(_SMALL_NUMBERS) + r")\b(?! of these| of those| more)")
_ALONE = r"myself|just me|only me|alone|by myself|a single|a person|solo"
_TWO = r"a couple|couple of|both of us|the two of us|me and my \w+|my \w+ and (?:i|me)"
_COMPANY = re.compile(rf"\b(?:({_ALONE})|({_TWO}))\b")


def numbers(text: str, today: date) -> Iterator[Found]:
    """Amounts and counts without signs, thousands separators or empty cents; small numbers in words; 1 and 2 in company."""
    for match in _NUMBER.finditer(text):
        yield Found(NUMBER, plain_number(match[1]), match.start(), match.end())
    for match in _NUMBER_WORD.finditer(text):
        yield Found(NUMBER, str(_SMALL_NUMBERS[match[1]]), match.start(), match.end())
    for match in _COMPANY.finditer(text):
        yield Found(NUMBER, "1" if match[1] else "2", match.start(), match.end())


def plain_number(text: str) -> str:
    """A number as one writes it without ornaments: 1,200.00 gives 1200."""
    plain = text.replace(",", "")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


for _name, _normaliser in (("emails", emails), ("dates", dates), ("times", times), ("identifiers", identifiers), ("numbers", numbers)):
    register_normaliser(_name, _normaliser)
