"""`agentgym models`: which versions there are, which is champion, how it came to that, and the way back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from agentgym.cli.console import Screen
from agentgym.cli.session import session
from agentgym.errors import InvalidInput
from agentgym.settings import Settings, make_workspace

if TYPE_CHECKING:
    from agentgym.registry import ModelRegistry, ModelVersion


def list_models(*, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        run.screen.finish(show_models(run.screen, run.settings, agent=agent))


def show_models(screen: Screen, settings: Settings, *, agent: str) -> dict[str, Any]:
    """Shows the table of versions; gives the same as JSON."""
    from agentgym.cli.summaries import version_json
    from agentgym.registry import ALIASES
    from tasks.registry import open_registry

    registry = open_registry(agent, settings)
    _require_versions(registry)
    status, versions = registry.status(), registry.versions()
    aliases = {version.version: alias for alias in ALIASES if (version := getattr(status, alias)) is not None}
    table = Table("version", "alias", "checkpoint", "registered", "description", box=None)
    for version in versions:
        alias = f"@{aliases[version.version]}" if version.version in aliases else ""
        registered = f"{version.created_at:%Y-%m-%d %H:%M}"
        table.add_row(str(version.version), alias, version.checkpoint.digest[:12], registered, f"{version.description}{_mark(version)}")
    screen.show(table, *status.moved_by_hand, *_marks_explained(versions, agent))
    listed = [{**version_json(version), "alias": aliases.get(version.version), "forgotten": version.forgotten} for version in versions]
    return {"agent": agent, "versions": listed, "moved_by_hand": list(status.moved_by_hand)}


def show_history(*, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from tasks.registry import open_registry

        registry = open_registry(agent, run.settings)
        _require_versions(registry)
        entries, marks = registry.history(), {version.version: _mark(version) for version in registry.versions()}
        table = Table("", "when", "change", "champion", "reason", box=None)
        for entry in entries:
            champion = entry.standing.champion
            table.add_row(
                str(entry.sequence),
                f"{entry.at:%Y-%m-%d %H:%M:%S}",
                entry.change,
                f"{champion.version}{marks.get(champion.version, '')}" if champion else "-",
                entry.reason,
            )
        run.screen.show(table, *_marks_explained(registry.versions(), agent))
        run.screen.finish({"agent": agent, "history": [entry.model_dump(mode="json") for entry in entries]})


def register_upstream(base_url: str, model: str, *, key_env: str | None, as_champion: str | None, agent: str, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        if not model.strip():
            raise InvalidInput(f"An upstream must be asked by its model's name; got {model!r}. Give the name it has there.")
        from agentgym.policies.upstream import UpstreamConfig, upstream_checkpoint

        checkpoint = upstream_checkpoint(UpstreamConfig(base_url=base_url, model=model, api_key_env=key_env))
        make_workspace(run.settings)
        from agentgym.cli.summaries import version_json
        from agentgym.registry import Lineage
        from tasks.artifacts import write_checkpoint
        from tasks.caching import code_digest
        from tasks.registry import open_registry

        registry = open_registry(agent, run.settings)
        lineage = Lineage(code_version=code_digest()[:12], policy=checkpoint.manifest.policy)
        described = f"{model} at {base_url}"
        version = registry.register(write_checkpoint(checkpoint, run.settings), lineage=lineage, description=described)
        if as_champion is not None:
            registry.bootstrap(version, as_champion)
        run.screen.show(f"Version {version.version} is {described}{', and champion' if as_champion is not None else ''}.")
        run.screen.finish({"version": version_json(version), "is_champion": as_champion is not None})


def roll_back(*, agent: str, reason: str, is_draining: bool, is_undo: bool, is_json: bool) -> None:
    with session(is_json=is_json) as run:
        make_workspace(run.settings)
        from flows.rollback import rollback
        from tasks.registry import open_registry

        before, left = version_to_leave(open_registry(agent, run.settings), is_undo=is_undo)
        after = rollback(reason, agent=agent, from_version=left, drain=is_draining)
        said = f"Version {after.version} is champion again." if before != after.version else f"Version {after.version} is champion already."
        run.screen.show(f"{said} `agentgym models rollback --undo` takes the rollback back.")
        run.screen.finish({"rollback": {"champion_before": before, "champion_after": after.version}})


def version_to_leave(registry: "ModelRegistry", *, is_undo: bool) -> tuple[int | None, int | None]:
    """The champion, and the one to leave: the champion itself, or, where it came by a rollback, the one that was left then.

    So the same command can be run again after it was interrupted, and takes nothing back unless it is told to undo.
    """
    changes = [entry for entry in registry.history() if entry.change in ("bootstrap", "promotion", "rollback")]
    champion = registry.status().champion
    is_rolled_back = bool(changes) and changes[-1].change == "rollback"
    if is_undo and not is_rolled_back:
        raise InvalidInput(f"Only a rollback can be undone; the last change of {registry.name!r} was none. Leave --undo out to roll back.")
    previous = changes[-1].standing.previous if changes else None
    number = champion.version if champion else None
    return number, previous.version if is_rolled_back and not is_undo and previous else number


def _mark(version: "ModelVersion") -> str:
    """What a version carries that learned from conversations that were forgotten since."""
    return f" †{len(version.forgotten)}" if version.forgotten else ""


def _marks_explained(versions: Sequence["ModelVersion"], agent: str) -> list[str]:
    if not any(version.forgotten for version in versions):
        return []
    return [f"†N learned from N conversations that were forgotten since. Learn again without them: agentgym improve --agent {agent}"]


def _require_versions(registry: "ModelRegistry") -> None:
    """Tells a mistyped name from an agent without a past: an agent is registered with its first version."""
    known = registry.known_names()
    if registry.name not in known:
        repair = f"Choose one of {', '.join(known)} with --agent." if known else "Run `agentgym improve` first."
        raise InvalidInput(f"An agent must have a registered version; {registry.name!r} has none. {repair}")
