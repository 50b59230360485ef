"""`agentgym traces forget`: a conversation taken out of everything that is kept, and what learned from it named."""

from typing import TYPE_CHECKING

from rich.markup import escape

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.settings import make_workspace

if TYPE_CHECKING:
    from tasks.forgetting import Forgotten

_WORDS = {
    "snapshots": "snapshots, written anew without it",
    "quarantines": "lists of what was put aside",
    "packs": "scenario packs",
    "reports": "reports, which keep its result and not whose it was",
    "served": "conversations served, with answers and feedback",
    "regression_cases": "regression cases made of it, which later versions need not pass any more",
    "served_logs": "logs of what was served",
    "pages": "pages about the quality of logs",
    "cached_results": "results of steps that led to one of these",
    "resume_points": "interrupted trainings",
}


def forget_conversation(conversation_id: str, *, reason: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from tasks import forgetting

        forgotten = forgetting.forget_conversation(conversation_id, reason, run.settings)
        _show(run.screen, forgotten)
        tombstone = forgotten.tombstone
        run.screen.finish(
            {
                "digest": tombstone.name,
                "state": tombstone.state,
                "reason": tombstone.reason,
                "asked_at": tombstone.asked_at.isoformat(),
                "was_forgotten": forgotten.was_forgotten,
                "removed": forgotten.removed,
                "replaced": forgotten.replaced,
                "dependents": tombstone.dependents.model_dump(mode="json"),
                "weights_remain": bool(tombstone.dependents.checkpoints),
            }
        )


def _show(screen: Screen, forgotten: "Forgotten") -> None:
    dependents, digest = forgotten.tombstone.dependents, forgotten.tombstone.name[:16]
    if forgotten.was_forgotten:
        screen.show(f"It was forgotten on {forgotten.tombstone.asked_at:%Y-%m-%d}, and nothing of it is kept.")
    else:
        screen.show(f"Forgotten. Its tombstone, {digest}, keeps a digest of the id alone; another import leaves the conversation out.")
        screen.show(*(f"  {count:>4}  {_WORDS[kind]}" for kind, count in forgotten.removed.items() if count))
    if not dependents.checkpoints:
        screen.show("No weights were learned from it.")
        return
    screen.show(
        f"Weights that learned from it are still there, and may know what was said in it: {len(dependents.checkpoints)} checkpoints."
    )
    for version in dependents.versions:
        aliases = "".join(f" @{alias}" for alias in version.aliases)
        screen.show(f"  version {version.version} of {escape(version.agent)}{aliases}, marked")
    agents = sorted({version.agent for version in dependents.versions})
    screen.show(*(f"Learn again without it: agentgym improve --agent {escape(agent)} --traces LOG" for agent in agents))
