"""`agentgym traces`: what a log is worth before anything is built on it, the log in the trace's own form, and one of its conversations."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.errors import InvalidInput
from agentgym.traces.source import TraceSource

if TYPE_CHECKING:
    from agentgym.traces.importers import Record, RejectedLine
    from agentgym.traces.redaction import Redactor
    from agentgym.traces.trace import Trace
    from agentgym.traces.validation import Accepted, Validation, ValidationReport


def validate_log(source: TraceSource, *, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        from tasks.forgotten import forgotten_in
        from tasks.redaction import looking_redactor

        validation = _validation(source, looking_redactor(source, run.settings), forgotten_in(run.settings))
        for _ in _watched(validation, source, run.screen):
            continue
        validation.refuse_unusable(1.0)
        _show_report(validation, run.screen)
        report = validation.report()
        _show_bar(report, source.max_quarantined_share, run.screen)
        rejected = [{"source": line.source, "line": line.line, "reasons": list(line.reasons)} for line in validation.quarantine]
        run.screen.finish(report.model_dump() | {"max_quarantined_share": source.max_quarantined_share, "rejected": rejected})


def import_log(source: TraceSource, out: Path, *, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        from agentgym.cli.out_file import compressed_as_named, require_out_file
        from agentgym.store import writing_atomically
        from agentgym.traces.rows import trace_lines
        from tasks.forgotten import forgotten_in
        from tasks.redaction import redactor_of

        require_out_file(out, source)
        validation = _validation(source, redactor_of(source, run.settings), forgotten_in(run.settings))
        with writing_atomically(out, named="file") as whole, compressed_as_named(whole, out) as file:
            for accepted in _watched(validation, source, run.screen):
                file.writelines(trace_lines(accepted.rows, [trace.tools for trace in accepted.observed]))
            validation.refuse_unusable(source.max_quarantined_share)
        _show_report(validation, run.screen)
        run.screen.show(f"Those that can be used are in {out}.")
        run.screen.finish(validation.report().model_dump() | {"out": str(out)})


def show_conversation(source: TraceSource, *, conversation_id: str | None, number: int, is_json: bool) -> None:
    """The conversation of this id, else the one with this number, counted from 1."""
    with session(is_json=is_json) as run:
        from agentgym.traces.importers import RejectedLine
        from tasks.redaction import looking_redactor

        found = _found(source, conversation_id, number)
        redactor = looking_redactor(source, run.settings)
        shown = _redacted(found, redactor)
        read = shown if isinstance(shown, RejectedLine) else shown.to_trace()
        if isinstance(read, RejectedLine):
            run.screen.show(f"{read.source}:{read.line} cannot be used: {' '.join(read.reasons)}")
            run.screen.finish({"trace": None, "source": read.source, "line": read.line, "reasons": list(read.reasons)})
        else:
            _show_trace(read, run.screen)
            run.screen.finish({"trace": read.model_dump(mode="json", exclude_defaults=True), "source": found.source, "line": found.line})


def _validation(source: TraceSource, redactor: "Redactor | None", is_forgotten: "Callable[[str], bool]") -> "Validation":
    from agentgym.traces.validation import Validation

    return Validation(source.path, source.format, mapping=source.mapping, limit=source.limit, redactor=redactor, is_forgotten=is_forgotten)


def _watched(validation: "Validation", source: TraceSource, screen: Screen) -> "Iterator[Accepted]":
    """What is accepted, with a bar while it is read."""
    from agentgym.cli.watching import watching
    from tasks.progress import stage
    from tasks.reading import reading_progress

    with watching(screen), stage("read the log"), reading_progress(source) as report:
        yield from validation.accepted(on_progress=report)


def _show_report(validation: "Validation", screen: Screen) -> None:
    report = validation.report()
    screen.show(f"{report.accepted} of {report.read} conversations can be used; they make {report.tool_calls} tool calls.")
    screen.show(*(f"  {count:>6}  {reason}" for reason, count in report.reasons.items()))
    if report.near_duplicates:
        screen.show(f"  {report.near_duplicates:>6}  nearly repeat an earlier conversation; they are used all the same")
    if report.forgotten:
        screen.show(f"  {report.forgotten:>6}  left out, as they are forgotten")
    screen.show(*(f"  {count:>6}  {kind} redacted" for kind, count in report.redacted.items()))
    screen.show(*(f"  {line.source}:{line.line}  {' '.join(line.reasons)}" for line in validation.quarantine.first))
    if (more := report.quarantined - len(validation.quarantine.first)) > 0:
        screen.show(f"  and {more} more; --json tells all of them")


def _show_bar(report: "ValidationReport", max_quarantined_share: float, screen: Screen) -> None:
    """Says that the other commands would refuse what this one only looks at."""
    if report.quarantined_share > max_quarantined_share:
        said = f"At most {max_quarantined_share:.0%} of a log may be unusable; {report.quarantined_share:.0%} of this one is"
        screen.show(f"{said}: `traces import` and `improve` refuse it as it is.")


def _found(source: TraceSource, conversation_id: str | None, number: int) -> "Record | RejectedLine":
    from agentgym.traces.importers import read_records

    records = read_records(source.path, source.format, mapping=source.mapping)
    if conversation_id is None:
        found = next(islice(records, number - 1, None), None)
        wanted, repair = f"the conversation with number {number}", "Ask for a lower number."
    else:
        found = next((record for record in records if record.conversation_id == conversation_id), None)
        wanted, repair = f"a conversation {conversation_id!r}", "Check the id, or ask by --number."
    if found is None:
        raise InvalidInput(f"What is shown must be in the log; {str(source.path)!r} has not {wanted}. {repair}")
    return found


def _redacted(found: "Record | RejectedLine", redactor: "Redactor | None") -> "Record | RejectedLine":
    from agentgym.traces.importers import RejectedLine

    if redactor is None:
        return found
    return redactor.redact_rejected(found) if isinstance(found, RejectedLine) else redactor.redact(found)


def _show_trace(trace: "Trace", screen: Screen) -> None:
    from rich.text import Text

    known: dict[str, Any] = {
        "customer": trace.customer_id,
        "outcome": trace.outcome,
        "satisfaction": trace.satisfaction_score,
        "began": trace.started_at,
        **trace.tags,
    }
    said = ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
    screen.show(Text(trace.conversation_id, style="bold"), Text(said, style="dim"))
    for message in trace.messages:
        result = "" if message.result is None else orjson.dumps(message.result).decode()
        calls = [f"→ {call.name}({orjson.dumps(call.arguments).decode()})" for call in message.tool_calls]
        speaker = f"{message.role} {message.name}" if message.name else message.role
        for words in filter(None, (message.content, *calls, result)):
            screen.show(Text(f"{speaker:>12}  {words}"))
