"""What personal data looks like in text, what decides that it is some, and what stands in for it: a row for each way to write it.

Checksums and plausibility decide, so that prices, dates and order numbers stay. What stands in has the form of what it stands in for, in
ranges that belong to nobody, and is not taken for personal data again. English and the commonest European forms are covered; names are
not, see `Redactor`.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

EMAIL, PHONE, CARD, IBAN, ADDRESS, KEY, NAME, CUSTOMER = "email", "phone", "card", "iban", "address", "key", "name", "customer_id"

Canonical = Callable[[str], str | None]
StandIn = Callable[[str, bytes], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One way to write personal data.

    pattern: where it may stand; the value is the group `value` where there is one, else all of it.
    canonical: equal for equal values, however they are spelled; None where the text is no such value after all.
    stand_in: from the value as it is spelled and a digest of 32 bytes.
    is_spread: whether other mentions in the same conversation are told only by its value, without what gave it away here.
    """

    name: str
    pattern: str
    canonical: Canonical
    stand_in: StandIn
    is_spread: bool = False
    compiled: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", re.compile(self.pattern))


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Personal data in a text, from `start` to `end`."""

    kind: Kind
    value: str
    canonical: str
    start: int
    end: int


def find_all(text: str) -> tuple[Found, ...]:
    """All personal data in a text, in order."""
    return _all_in_value(text) if len(text) <= _LONGEST_VALUE else _all_in(text)


def _all_in(text: str) -> tuple[Found, ...]:
    rows = _possible_rows(text)
    if not rows:
        return ()
    pattern, kinds = _search_for(rows)
    found, at = list[Found](), 0
    while (next_one := _next_in(text, at, pattern, kinds)) is not None:
        found.append(next_one)
        at = next_one.end
    return tuple(found)


# Results of tools repeat their values all over a log; words hardly ever repeat.
_LONGEST_VALUE = 40
_all_in_value = lru_cache(maxsize=65_536)(_all_in)


def _next_in(text: str, start: int, pattern: re.Pattern[str], kinds: Sequence[Kind]) -> Found | None:
    """The first from `start` on. Of the rows that see a value at one place, the first one that holds says what it is."""
    while match := pattern.search(text, start):
        start = match.start()
        for kind in kinds:
            seen = kind.compiled.match(text, start)
            found = _found(kind, seen) if seen else None
            if found:
                return found
        start += 1
    return None


def find_named(text: str, name: str) -> Found | None:
    """The whole text as personal data, where the name of its field says so."""
    for kind in _kinds_named(name):
        # As in a sentence, where a sign after the value is taken to end it.
        value = text.strip().rstrip(".!?:") if kind.name == KEY else text.strip()
        if canonical := kind.canonical(value):
            start = text.index(value)
            return Found(kind=kind, value=value, canonical=canonical, start=start, end=start + len(value))
    return None


@lru_cache(maxsize=4096)
def _kinds_named(name: str) -> tuple[Kind, ...]:
    """What a field of this name may hold."""
    return () if _UNNAMED.search(name) else tuple(kind for named, kind in _NAMED if named.search(name))


def is_told_of_numbers(name: str) -> bool:
    """Whether the name of a field may say what a number in it is; what stands in for other kinds is no number."""
    return any(kind.name == PHONE for kind in _kinds_named(name))


def mentions(found: Found) -> tuple[str, ...]:
    """Spellings under which the value may be mentioned again: as it is, and a phone number also without its ornaments."""
    if found.kind.name != PHONE:
        return (found.value,)
    digits = _digits(found.value)
    return tuple(dict.fromkeys((found.value, digits, found.canonical)))


def holds_stand_in(text: str) -> bool:
    """Whether something in it stands for personal data already."""
    return _STAND_IN.search(text) is not None or RESERVED_DOMAIN in text


def _found(kind: Kind, match: re.Match[str]) -> Found | None:
    group = "value" if "value" in kind.compiled.groupindex else 0
    value = match[group]
    canonical = None if _STAND_IN.search(value) else kind.canonical(value)
    return Found(kind=kind, value=value, canonical=canonical, start=match.start(group), end=match.end(group)) if canonical else None


# Of what stands in for addresses, keys, names and customers; the others are told by their ranges.
_STAND_IN = re.compile(r"\b(?:person|key|customer|Redacted|Person)-[0-9a-f]{10,16}\b")


# --- what decides ---

RESERVED_DOMAIN = "redacted.example"


def _email(value: str) -> str | None:
    plain = value.lower().replace("%40", "@")
    return None if plain.endswith("@" + RESERVED_DOMAIN) else plain


_DATE = re.compile(r"(?:19|20)\d\d[-./ ]?(?:0[1-9]|1[0-2])[-./ ]?(?:0[1-9]|[12]\d|3[01])(?:\D.*)?|\d\d?[-./ ]\d\d?[-./ ](?:19|20)\d\d")
_DIALLED = re.compile(r"[\d +()./-]+")
# No subscriber's number begins like these: the country code 999 is kept free, and no area code or exchange begins with 100 or 10.
_FREE_ABROAD, _FREE, _FREE_SHORT = "999", "100", "10"


def _phone(value: str) -> str | None:
    """The digits that tell the number, without North America's country code; None for what is no number that can be called."""
    _, body, free = _phone_parts(value)
    is_plausible = 7 <= len(_digits(value)) <= 15 and len(set(body)) > 2 and _DIALLED.fullmatch(value)
    return body if is_plausible and not body.startswith(free) and not _DATE.fullmatch(value) else None


def _phone_parts(value: str) -> tuple[int, str, str]:
    """How many digits lead to the number and stay, the digits of the number, and how a number begins that belongs to nobody."""
    digits, is_abroad = _digits(value), value.lstrip("( ").startswith(("+", "00"))
    lead = 2 if digits.startswith("00") else 0
    if len(digits) - lead == 11 and digits[lead] == "1":
        return lead + 1, digits[lead + 1 :], _FREE
    if is_abroad:
        return lead, digits[lead:], _FREE_ABROAD
    lead = 1 if digits.startswith("0") else 0
    return lead, digits[lead:], _FREE if len(digits) - lead > 9 else _FREE_SHORT


def _card(value: str) -> str | None:
    digits = _digits(value)
    return digits if passes_luhn(digits) and len(set(digits)) > 1 else None


def passes_luhn(digits: str) -> bool:
    """The checksum of payment cards (ISO/IEC 7812-1, annex B)."""
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _iban(value: str) -> str | None:
    # Where case is ignored, two more letters are a K and an I.
    plain = re.sub(r"[ -]", "", value).upper().replace("\u212a", "K").replace("\u0130", "I")
    return plain if passes_mod_97(plain) else None


def passes_mod_97(iban: str) -> bool:
    """The checksum of bank accounts (ISO 13616); upper case, without spaces."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def _key(value: str) -> str | None:
    return value


_IDENTIFIER = re.compile(r"[A-Z]{2,6}[-_]?\d+")


def _secret(value: str) -> str | None:
    """Letters with digits or signs in an order that nobody would guess; no identifier, no address, and no key that tells itself."""
    has_letter, is_mixed = re.search(r"[A-Za-z]", value), re.search(r"[\d!#$%^&*+=?~]", value)
    is_other = _IDENTIFIER.fullmatch(value) or _EMAIL.fullmatch(value) or _TOKEN.search(value) or _STAND_IN.search(value)
    is_secret = len(value) >= 6 and " " not in value and has_letter and is_mixed and not is_other
    return value if is_secret and _entropy(value) >= 2.5 else None


_NO_SECRET = re.compile(r"(?i)yes|no|true|false|on|off|none|null|[*•x._-]+")


def _named_secret(value: str) -> str | None:
    """Any word at all; not one that says whether there is a secret, nor one that hides it already."""
    is_word = value and not re.search(r"\s", value) and not _NO_SECRET.fullmatch(value)
    return value if is_word and not _STAND_IN.search(value) else None


def _entropy(text: str) -> float:
    """Bits for each character, by how often each occurs (Shannon 1948)."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _address(value: str) -> str | None:
    return None if _STAND_IN.search(value) else " ".join(value.lower().split())


def _whole_address(value: str) -> str | None:
    return _address(value) if re.search(r"\d", value) and re.search(r"[^\W\d_]{3}", value) else None


def _digits(value: str) -> str:
    return "".join(_DIGITS.findall(value))


# --- what stands in ---


def _email_stand_in(value: str, digest: bytes) -> str:
    return f"person-{digest.hex()[:10]}{'@' if '@' in value else '%40'}{RESERVED_DOMAIN}"


def _phone_stand_in(value: str, digest: bytes) -> str:
    lead, body, free = _phone_parts(value)
    return _laid_out(value, _digits(value)[:lead] + free + _random_digits(digest)[: len(body) - len(free)])


def _card_stand_in(value: str, digest: bytes) -> str:
    """No card begins with 9; the last digit is moved on where the checksum would hold."""
    digits = "9" + _random_digits(digest)[: len(_digits(value)) - 1]
    return _laid_out(value, digits[:-1] + str((int(digits[-1]) + 1) % 10) if passes_luhn(digits) else digits)


def _iban_stand_in(value: str, digest: bytes) -> str:
    """Of the same country, with check digits that no account has."""
    fillers = iter(_random_digits(digest))
    return value[:2] + "00" + "".join(_filled(character, fillers) for character in value[4:])


def _filled(character: str, digits: Iterator[str]) -> str:
    """A digit for a digit and a letter for a letter."""
    if not character.isalnum():
        return character
    return next(digits) if character.isdecimal() else chr(ord("A") + int(next(digits)))


def _address_stand_in(value: str, digest: bytes) -> str:
    return f"{1000 + digest[-1] * 35} Redacted-{digest.hex()[:10]} Street"


def _key_stand_in(value: str, digest: bytes) -> str:
    return f"key-{digest.hex()[:16]}"


def _name_stand_in(value: str, digest: bytes) -> str:
    return f"Person-{digest.hex()[:10]}"


def _customer_stand_in(value: str, digest: bytes) -> str:
    return f"customer-{digest.hex()[:16]}"


def _customer(value: str) -> str | None:
    return None if re.fullmatch(r"customer-[0-9a-f]{16}", value) else value


def _random_digits(digest: bytes) -> str:
    return f"{int.from_bytes(digest):077d}"[::-1]


def _laid_out(value: str, digits: str) -> str:
    """The digits in place of the value's own, spaces, dashes and brackets as they were."""
    remaining = iter(digits)
    return "".join(next(remaining) if character.isdecimal() else character for character in value)


# --- where it may stand ---

_EMAIL_PATTERN = r"(?<![\w.+%-])\w[\w.+%-]*(?:@|%40)(?:[\w-]+\.)+[\w-]*\w"
_TOKEN_PATTERN = (
    r"(?<![A-Za-z0-9_-])(?:sk-[\w-]{16,}|[spr]k_(?:live|test)_\w{10,}|(?:AKIA|ASIA)[0-9A-Z]{16}\b|gh[pousr]_\w{20,}|github_pat_\w{20,}"
    r"|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|AIza[\w-]{30,}|hf_\w{20,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?)"
)
_EMAIL, _TOKEN = re.compile(_EMAIL_PATTERN), re.compile(_TOKEN_PATTERN)
_PRIVATE_KEY_PATTERN = r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
_BEARER_PATTERN = r"\b[Bb]earer\s+(?P<value>(?=[\w.~+/-]*\d)[\w.~+/-]{8,}=*)"
_LINK = r"[\"']?\s*(?:\b(?:is|was|will be)\b|[:=]|\bto\b)?\s*[\"'`]?"
# A name of several such words is taken whole, never a part of it as the value.
_SECRET_PATTERN = (
    r"(?i:(?<![a-z])(?>(?:(?:api|access|secret|private|auth)[ _-]?key|pass(?:word|wd|phrase|code)|pwd|secret|token|credentials?)"
    r"(?:[ _-]?(?:(?:access[ _-]?)?key|secret|token|value|hash)(?![a-z0-9-]))*))"
    rf"{_LINK}(?P<value>[^\s\"'`,;<>(){{}}\[\]]{{5,}}[^\s\"'`,;<>(){{}}\[\].!?:])"
)
# Countries by the length of their account numbers (the registry of ISO 13616).
_IBAN_LENGTHS = {
    15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
    26: "IS TR", 27: "FR GR IT MC MR SM BI DJ", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU",
    31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
_IBAN_PATTERN = "|".join(
    rf"(?:{'|'.join(countries.split())})\d\d(?:[ -]?[A-Z0-9]){{{length - 4}}}" for length, countries in _IBAN_LENGTHS.items()
)
_CARD_PATTERN = (
    r"[2-6]\d{3}(?P<gap>[ .-]|[ ]{2})\d{4}(?P=gap)\d{4}(?P=gap)\d{4}|3\d{3}(?:[ .-]|[ ]{2})\d{6}(?:[ .-]|[ ]{2})\d{4,5}|[2-6]\d{12,18}"
)
_CARD_19_PATTERN = r"[2-6]\d{3}(?P<gap>[ .-]|[ ]{2})\d{4}(?P=gap)\d{4}(?P=gap)\d{4}(?P=gap)\d{3}"
_NOT_INSIDE = r"(?<![\w#$€£@/])(?<!\w[-.])(?:(?<!\d[ :])|(?=[(+]))"
_ENDED = r"(?![-.]?\d|\w|[-/@%€]\w)"
_PHONE_PATTERN = (
    rf"{_NOT_INSIDE}(?:(?:\+|00)[1-9]\d{{0,2}}(?:[ .-]?\(0?\d{{1,4}}\)|[ ./-]?\d{{1,12}}){{1,6}}"
    r"|(?:1[ .-])?(?:\(\d{3}\)[ ]?|\d{3}(?P<dash>[ .-]))\d{3}(?(dash)(?P=dash)|[ .-])\d{4}"
    r"|0\d\d[ ./]\d{3}(?P<pair>[ .])\d\d(?P=pair)\d\d"
    rf"|\(?0\d{{2,4}}\)?[ /-]\d{{3,8}}(?:[ -]\d{{3,4}})?|0[1-9](?:(?P<dot>[ .])\d\d)(?:(?P=dot)\d\d){{3}}){_ENDED}"
)
_CALL = r"(?i:(?<![a-z])(?:(?:tele)?phone|mobile|cell|whatsapp|fax|tel|(?:call|reach|text|ring) (?:me|us|him|her)(?: back)?)(?![a-z]))"
_CALLED_PATTERN = (
    rf"{_CALL}\.?(?:\s+(?:number|no\.?|nr\.?))?[\"']?\s*(?:\b(?:is|at|on|under)\b|[:=])?\s*[\"']?"
    rf"(?P<value>(?:\+?\d{{1,3}}[ .-]?)?(?:\(\d{{1,5}}\) ?|0\d{{2,4}}/)?\d[\d .-]{{4,16}}\d){_ENDED}"
)
_NUMBERED = r"(?:[NSEW]\.?|[A-Z][\w.'’-]*|\d+(?:st|nd|rd|th))"
_STREETS = (
    r"(?:Street|Avenue|Road|Boulevard|Lane|Drive|Court|Way|Place|Square|Terrace|Parkway|Highway|Crescent|Circle|Plaza|Expressway|Alley"
    r"|St|Ave|Av|Rd|Blvd|Ln|Dr|Ct|Pl|Sq|Pkwy|Hwy|Cres)"
)
_ADDRESS_PATTERN = (
    rf"(?<![\w.#$-])(?:\d{{1,5}}(?:-\d{{1,5}})?[A-Za-z]?\s+(?:{_NUMBERED}\s+){{1,4}}?{_STREETS}\b"
    r"|[A-ZÄÖÜ][\w-]*(?:stra(?:ß|ss)e|str\.|weg|allee|gasse)\s+\d{1,4}[a-z]?\b|P\.?\s?O\.?\s?Box\s+\d+)"
)

_WORD_START = r"(?<![A-Za-z0-9])"
_PHONE_OF_WORDS = Kind(name=PHONE, pattern=_CALLED_PATTERN, canonical=_phone, stand_in=_phone_stand_in, is_spread=True)
_SECRET_OF_WORDS = Kind(name=KEY, pattern=_SECRET_PATTERN, canonical=_secret, stand_in=_key_stand_in, is_spread=True)
KINDS = (
    Kind(name=EMAIL, pattern=_EMAIL_PATTERN, canonical=_email, stand_in=_email_stand_in),
    Kind(name=KEY, pattern=_PRIVATE_KEY_PATTERN, canonical=_key, stand_in=_key_stand_in),
    Kind(name=KEY, pattern=_TOKEN_PATTERN, canonical=_key, stand_in=_key_stand_in),
    Kind(name=KEY, pattern=_BEARER_PATTERN, canonical=_secret, stand_in=_key_stand_in, is_spread=True),
    _SECRET_OF_WORDS,
    Kind(name=IBAN, pattern=rf"{_WORD_START}(?i:{_IBAN_PATTERN})(?![A-Za-z0-9])", canonical=_iban, stand_in=_iban_stand_in),
    Kind(name=CARD, pattern=rf"(?<!\w){_CARD_19_PATTERN}(?!\w)", canonical=_card, stand_in=_card_stand_in),
    Kind(name=CARD, pattern=rf"(?<!\w)(?:{_CARD_PATTERN})(?!\w)", canonical=_card, stand_in=_card_stand_in),
    _PHONE_OF_WORDS,
    Kind(name=PHONE, pattern=_PHONE_PATTERN, canonical=_phone, stand_in=_phone_stand_in, is_spread=True),
    Kind(name=ADDRESS, pattern=_ADDRESS_PATTERN, canonical=_address, stand_in=_address_stand_in, is_spread=True),
)
NAME_KIND = Kind(name=NAME, pattern=r"(?!)", canonical=str.lower, stand_in=_name_stand_in, is_spread=True)
CUSTOMER_KIND = Kind(name=CUSTOMER, pattern=r"(?!)", canonical=_customer, stand_in=_customer_stand_in)
_WHOLE_ADDRESS = Kind(name=ADDRESS, pattern=r"(?!)", canonical=_whole_address, stand_in=_address_stand_in, is_spread=True)
# A plain word is a secret in its field alone.
_SECRET_OF_FIELD = Kind(name=KEY, pattern=r"(?!)", canonical=_named_secret, stand_in=_key_stand_in)

# Where the name of a field tells what it holds.
_UNNAMED = re.compile(r"(?i)e-?mail|(?<![a-z])(?:ip|mac|web|url)_?address|_id$|count|type|status")
_NAMED = (
    (re.compile(r"(?i)phone|mobile|whatsapp|(?<![a-z])(?:tel|fax|cell)(?![a-z])"), _PHONE_OF_WORDS),
    (re.compile(r"(?i)passw|passphrase|pwd|token|secret|api_?key|access_?key|credential|authorization"), _SECRET_OF_WORDS),
    (
        re.compile(
            r"(?i)^(?!.*token).*(?:passw(?:or)?d|passphrase|pwd|secret|(?:api|access|secret)[_-]?key|credential|authorization)s?\d?$"
        ),
        _SECRET_OF_FIELD,
    ),
    (re.compile(r"(?i)address(?:_?(?:line)?_?\d)?$|^street|_street$|(?<![a-z])line_?1$"), _WHOLE_ADDRESS),
)

# --- which rows can match at all ---

_EMAIL_ROW, _PRIVATE_KEY_ROW, _TOKEN_ROW, _BEARER_ROW, _SECRET_ROW, _IBAN_ROW = (1 << row for row in range(6))
_CARD_ROWS, _CALLED_ROW, _PHONE_ROW, _ADDRESS_ROW = 0b11 << 6, 1 << 8, 1 << 9, 1 << 10
_FEWEST_CARD_DIGITS, _FEWEST_PHONE_DIGITS = 13, 7
_DIGITS = re.compile(r"\d+")
_TOKEN_HINT = re.compile(r"sk-|[spr]k_|A[KS]IA|gh[pousr]_|github_|glpat|xox|AIza|hf_|eyJ")
_IBAN_HINT = re.compile(r"[A-Za-z\u017f\u212a]{2}\d\d[ -]?[A-Za-z0-9\u017f\u212a]")
_STREET_HINT = re.compile(rf"\s{_STREETS}\b|P\.?\s?O\.?\s?Box|stra(?:ß|ss)e|str\.|weg|allee|gasse")


def _possible_rows(text: str) -> int:
    """The rows of `KINDS` that may see something, a bit each: most texts hold nothing of what nearly all rows need, and looking costs.

    Without a digit, an at sign or a word for a secret there is no personal data.
    """
    folded = text.casefold()
    rows = _EMAIL_ROW if "@" in text or "%40" in text else 0
    if "pass" in folded or "pwd" in folded or "secret" in folded or "token" in folded or "key" in folded or "credential" in folded:
        rows |= _SECRET_ROW | _PRIVATE_KEY_ROW
    if "bearer" in folded:
        rows |= _BEARER_ROW
    digits = _count_digits(text)
    if digits:
        rows |= _rows_with_digits(text, folded, digits)
    # A lone hint is enough for a token, whose own form needs none of them.
    has_token = (rows or digits) and ("-" in text or "_" in text or "I" in text or "x" in text or "J" in text) and _TOKEN_HINT.search(text)
    return rows | _TOKEN_ROW if has_token else rows


def _count_digits(text: str) -> int:
    if text.isascii():
        return len(text) - len(text.encode().translate(None, b"0123456789"))
    return len(_digits(text))


def _rows_with_digits(text: str, folded: str, digits: int) -> int:
    rows = _ADDRESS_ROW if _STREET_HINT.search(text) else 0
    if digits >= _FEWEST_PHONE_DIGITS:
        rows |= _PHONE_ROW | (_CALLED_ROW if _CALL_HINT.search(folded) else 0)
    if digits >= _FEWEST_CARD_DIGITS:
        rows |= _CARD_ROWS
    return rows | _IBAN_ROW if _IBAN_HINT.search(text) else rows


_CALL_HINT = re.compile("phone|mobile|cell|whatsapp|fax|tel|call|reach|text|ring")
# What each row's values, or the words before them, begin with.
_CASELESS = "A-Za-z\u017f\u212a"
_BEGINNINGS = (r"\w", "-", "A-Za-z", "Bb", _CASELESS, _CASELESS, r"\d", r"\d", _CASELESS, r"\d+(", r"\dA-ZÄÖÜ")
_GROUP = re.compile(r"(\(\?P[<=]|\(\?\()(\w+)")


@lru_cache(maxsize=1 << len(KINDS))
def _search_for(rows: int) -> tuple[re.Pattern[str], tuple[Kind, ...]]:
    """One pattern for all of these rows, with the names of their groups kept apart; and their kinds.

    It looks only where a word or a number may begin, which is much faster.
    """
    asked = [(row, kind) for row, kind in enumerate(KINDS) if rows >> row & 1]
    either = "|".join(_GROUP.sub(rf"\g<1>\g<2>_{row}", kind.pattern) for row, kind in asked)
    beginnings = "".join(dict.fromkeys(_BEGINNINGS[row] for row, _ in sorted(asked, key=lambda each: _BEGINNINGS[each[0]] == "-")))
    return re.compile(rf"(?<![^\W_])(?=[{beginnings}])(?:{either})"), tuple(kind for _, kind in asked)
