"""What must be so before an alias moves: the verdict says yes, about who is champion and challenger now, and was not carried out before."""

from agentgym.errors import Refused
from agentgym.registry.ledger import HistoryEntry, LockedLedger, Pointer, Standing
from agentgym.verdicts import ABTestReport, PromotionDecision, Subject

_WITHOUT_VERDICT = {"bootstrap", "challenge", "repair"}


def needs_no_verdict(ledger: LockedLedger, *, is_upstream: bool) -> bool:
    """Whether a version may become champion for a reason alone: the first one, or an upstream before a verdict made a champion.

    docs/decisions/0004 says why.
    """
    has_had_none_by_verdict = all(entry.change in _WITHOUT_VERDICT for entry in ledger.entries)
    return ledger.standing.champion is None or (is_upstream and has_had_none_by_verdict)


def was_promoted(ledger: LockedLedger, verdict: PromotionDecision | ABTestReport, pointer: Pointer) -> bool:
    """Whether this verdict already made the champion, so that a step that is run again changes nothing.

    Raises Refused when it made a champion that was rolled back since: running a promotion again does not undo a rollback.
    """
    promotions = [entry.sequence for entry in ledger.entries if entry.change == "promotion" and _rests_on(entry, verdict)]
    if promotions and ledger.standing.champion != pointer:
        raise Refused(
            f"A verdict promotes once; this one made {named(pointer)} champion in entry {promotions[-1]} of the history, and "
            f"{named(ledger.standing.champion)} took its place since. Roll back to undo a rollback, or ask the gate again."
        )
    return bool(promotions)


def was_challenged(ledger: LockedLedger, decision: PromotionDecision, pointer: Pointer) -> bool:
    """Whether this decision already made the challenger, or even the champion. Raises Refused as `was_promoted` does."""
    is_challenger = ledger.standing.challenger == pointer and any(_rests_on(entry, decision) for entry in ledger.entries)
    return was_promoted(ledger, decision, pointer) or is_challenger


def require_offline_verdict(decision: PromotionDecision, standing: Standing) -> None:
    """Raises Refused unless the decision promotes over the present champion."""
    if not decision.promote:
        raise Refused(f"Only a decision to promote moves an alias; this one is {decision.verdict!r}. {' '.join(decision.reasons)}")
    if not _is(decision.champion, standing.champion):
        raise Refused(
            f"A decision must compare with the present champion; it compared {subject_named(decision.challenger)} with "
            f"{subject_named(decision.champion)}, and the champion is {named(standing.champion)}. Evaluate against the present champion."
        )


def require_online_verdict(report: ABTestReport, standing: Standing, *, agent: str) -> None:
    """Raises Refused unless the report ships, over the present champion of this agent."""
    if report.agent != agent:
        raise Refused(f"A test speaks of one agent; {report.test_id!r} was of {report.agent!r}, not {agent!r}. Test this one.")
    if report.verdict != "ship":
        raise Refused(
            f"Only a test that ships makes a champion; {report.test_id!r} says {report.verdict!r}. {' '.join(report.reasons)} "
            "Let it run on, or keep the champion."
        )
    if not _is(report.control.subject, standing.champion):
        raise Refused(
            f"A test must compare with the present champion; {report.test_id!r} compared {subject_named(report.treatment.subject)} with "
            f"{subject_named(report.control.subject)}, and the champion is {named(standing.champion)}. Test against the present champion."
        )


def require_challenger(subject: Subject, standing: Standing) -> None:
    """Raises Refused unless this is the present challenger."""
    if not _is(subject, standing.challenger):
        raise Refused(
            f"Only the present challenger can become champion; the verdict is about {subject_named(subject)}, and the challenger is "
            f"{named(standing.challenger)}. Promote it to challenger first."
        )


def has_left(from_version: int | None, champion: Pointer, previous: Pointer) -> bool:
    """Whether the champion to leave was left before. Raises Refused when it is neither champion nor previous."""
    if from_version in (None, champion.version):
        return False
    if from_version == previous.version:
        return True
    raise Refused(
        f"A rollback leaves the version it was asked to leave; version {from_version} is not champion, {named(champion)} is. "
        "Look at the history, and name the champion."
    )


def in_words(verdict: PromotionDecision | ABTestReport) -> str:
    """Who against whom in what, with the answer: the reason the history keeps."""
    if isinstance(verdict, PromotionDecision):
        compared = f"{subject_named(verdict.challenger)} against {subject_named(verdict.champion)}"
        return f"{compared} in {verdict.primary_metric}: {verdict.verdict}."
    compared = f"{subject_named(verdict.treatment.subject)} against {subject_named(verdict.control.subject)}"
    return f"{compared} in {verdict.metric} on live traffic, test {verdict.test_id}: {verdict.verdict}.{_last_look(verdict)}"


def named(pointer: Pointer | None) -> str:
    return f"version {pointer.version} ({pointer.checkpoint_digest[:12]})" if pointer else "none"


def subject_named(subject: Subject | None) -> str:
    return f"{subject.name} ({subject.checkpoint_digest[:12]})" if subject else "none"


def _last_look(report: ABTestReport) -> str:
    if not report.sequence:
        return ""
    look = report.sequence[-1]
    return f" The difference is {look.mean:+.3f} ({look.low:+.3f} to {look.high:+.3f}) over {look.customers} customers."


def _rests_on(entry: HistoryEntry, verdict: PromotionDecision | ABTestReport) -> bool:
    return any(kept is not None and kept.digest == verdict.digest for kept in (entry.decision, entry.report))


def _is(subject: Subject | None, pointer: Pointer | None) -> bool:
    """Whether both mean the same checkpoint, or both nobody."""
    return (subject.checkpoint_digest if subject else None) == (pointer.checkpoint_digest if pointer else None)
