"""`agentgym traces`: what a log is worth before anything is built on it."""

from agentgym.cli.session import session
from agentgym.traces.source import TraceSource


def validate_log(source: TraceSource, *, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        from agentgym.traces.validation import load_validated
        from tasks.forgotten import forgotten_in
        from tasks.redaction import passing_redactor

        validated = load_validated(
            source.path,
            source.format,
            mapping=source.mapping,
            limit=source.limit,
            max_quarantined_share=1.0,
            redactor=passing_redactor(source),
            is_forgotten=forgotten_in(run.settings),
        )
        report = validated.report
        run.screen.show(f"{report.accepted} of {report.read} conversations can be used; they make {report.tool_calls} tool calls.")
        run.screen.show(*(f"  {count:>6}  {reason}" for reason, count in report.reasons.items()))
        if report.near_duplicates:
            run.screen.show(f"  {report.near_duplicates:>6}  nearly repeat an earlier conversation; they are used all the same")
        if report.forgotten:
            run.screen.show(f"  {report.forgotten:>6}  left out, as they are forgotten")
        run.screen.show(*(f"  {count:>6}  {kind} redacted" for kind, count in report.redacted.items()))
        run.screen.show(*(f"  {line.source}:{line.line}  {' '.join(line.reasons)}" for line in validated.rejected[:20]))
        rejected = [{"source": line.source, "line": line.line, "reasons": list(line.reasons)} for line in validated.rejected]
        run.screen.finish(report.model_dump() | {"rejected": rejected})
