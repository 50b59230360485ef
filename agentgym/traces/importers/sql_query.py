"""The query of a log in a database: one SELECT, without parameters, which is known before it is sent."""

import re
from typing import TYPE_CHECKING

from agentgym.errors import InvalidInput

if TYPE_CHECKING:
    import sqlalchemy

# Comments, literals and quoted names, in which no word is a command. MySQL runs what stands in /*! … */, so that is no comment.
_QUOTED = re.compile(
    r"--[^\n]*|/\*(?!!).*?\*/"
    r"|\be'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'"
    r'|"(?:[^"]|"")*"|`[^`]*`|\$(\w*)\$.*?\$\1\$',
    re.DOTALL | re.IGNORECASE,
)
_BEGINNING = re.compile(r"[\s(]*(select|with)\b", re.IGNORECASE)
# INTO makes a table or a file of what is selected. A part of a WITH, or what follows it, may change rows.
_WRITING = re.compile(r"\b(into)\b|[()]\s*(delete|update|insert|merge)\s+[\w\"`\[]", re.IGNORECASE)


def read_query(query: str, name: str) -> "sqlalchemy.TextClause":
    """What is sent. name: of the file it stands in. Raises InvalidInput for all but one SELECT, and for one with parameters."""
    # SQLAlchemy takes a moment to import, which only those who ask a database should pay.
    import sqlalchemy

    if fault := _fault(query):
        raise InvalidInput(
            f"A log is read with one SELECT, or one WITH … SELECT, so that nothing is changed; the query in {name} {fault}. "
            "Select the rows, or name their `table`."
        )
    text = sqlalchemy.text(query)
    if parameters := [f":{parameter}" for parameter in text.compile().params]:
        raise InvalidInput(
            f"A query is asked as it stands, without parameters; the one in {name} has {', '.join(map(repr, parameters))}. "
            r"Write the value in its place, or \\: for a colon that is part of a text."
        )
    return text


def _fault(query: str) -> str | None:
    bare = _QUOTED.sub(lambda quoted: " " if quoted[0].startswith(("--", "/*")) else '""', query).strip()
    if not (begins := _BEGINNING.match(bare)):
        word = re.search(r"\w+", bare)
        return f"begins with {word[0]!r}" if word else "is empty"
    if ";" in bare.rstrip("; \n\t\r"):
        return "goes on after a semicolon"
    if writing := _WRITING.search(bare):
        return f"has {(writing[1] or writing[2]).upper()}"
    if begins[1].lower() == "with" and not re.search(r"\bselect\b", bare, re.IGNORECASE):
        return "has no SELECT"
    return None
