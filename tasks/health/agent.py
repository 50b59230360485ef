"""One agent: its registered versions, what is served of it, and what is tested."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy.engine import make_url

from agentgym.ab_tests.test_log import ABTestLog
from agentgym.registry.ledger import Ledger, Pointer, open_ledger
from agentgym.serving.api_keys import ApiKeys
from agentgym.serving.steering import is_in_line
from agentgym.serving.traffic_log import TrafficLog
from agentgym.settings import Settings
from agentgym.store import ArtifactRef, open_store
from agentgym.traces.forgotten import Tombstone
from agentgym.tracking import mlflow_answering, open_mlflow
from tasks.forgotten import forgotten_conversations
from tasks.health.databases import database_urls, is_begun
from tasks.health.finding import Finding, Look, ok, problem, warning
from tasks.servers import is_answered
from tasks.serving import HOLD_SECONDS, is_endpoint_alive


def agent_looks(agent: str, settings: Settings) -> dict[str, Look]:
    return {
        "tracking": lambda: look_at_tracking(settings),
        "history": lambda: look_at_history(agent, settings),
        "aliases": lambda: look_at_aliases(agent, settings),
        "checkpoint": lambda: look_at_checkpoint(agent, settings),
        "endpoint": lambda: look_at_endpoint(agent, settings),
        "traffic": lambda: look_at_traffic(agent, settings),
        "keys": lambda: look_at_keys(settings),
        "live test": lambda: look_at_live_test(agent, settings),
        "forgotten": lambda: look_at_forgotten(agent, settings),
    }


def look_at_tracking(settings: Settings) -> Iterator[Finding]:
    if not is_begun(settings.tracking_uri):
        yield ok("tracking", "No run is tracked yet.")
        return
    with mlflow_answering(settings.tracking_uri):
        open_mlflow(settings.tracking_uri).search_experiments(max_results=1)
    yield ok("tracking", f"MLflow answers at {_without_password(settings.tracking_uri)}.")


def look_at_history(agent: str, settings: Settings) -> Iterator[Finding]:
    """Reading it checks the chain of digests."""
    ledger = _ledger(agent, settings)
    entries = ledger.entries() if ledger else ()
    if entries:
        yield ok("history", f"The history of {agent!r} is as it was written; its last entry is {len(entries)}.")
    else:
        yield ok("history", f"{agent!r} has no history yet.")


def look_at_aliases(agent: str, settings: Settings) -> Iterator[Finding]:
    """Without opening the registry, which would put them right in passing."""
    ledger = _ledger(agent, settings)
    entries = ledger.entries() if ledger else ()
    if not entries:
        yield ok("aliases", f"{agent!r} has no champion yet.")
        return
    with mlflow_answering(agent):
        aliases = open_mlflow(settings.tracking_uri).get_registered_model(agent).aliases
    wanted = {str(alias): version for alias, version in entries[-1].standing.versions().items()}
    shown = {alias: int(version) for alias, version in aliases.items() if alias in ("champion", "challenger", "previous")}
    if shown == wanted:
        yield ok("aliases", f"MLflow shows what the history says: {_in_words(wanted)}.")
    else:
        statement = f"MLflow's aliases follow the history, which says {_in_words(wanted)}; they say {_in_words(shown)}."
        yield warning("aliases", statement, "Any command that opens the registry puts them right: agentgym models list.")


def look_at_checkpoint(agent: str, settings: Settings) -> Iterator[Finding]:
    """Reading it checks its digest."""
    champion = _champion(agent, settings)
    if champion is None:
        yield ok("checkpoint", f"{agent!r} has no champion yet.")
        return
    with mlflow_answering(agent):
        source = str(open_mlflow(settings.tracking_uri).get_model_version(agent, str(champion.version)).source)
    size = len(open_store(source).read(ArtifactRef(uri=source, digest=champion.checkpoint_digest)))
    yield ok("checkpoint", f"The champion, version {champion.version}, can be read whole ({size:,} bytes).")


def look_at_endpoint(agent: str, settings: Settings) -> Iterator[Finding]:
    traffic = _traffic(agent, settings)
    sign = traffic.endpoint() if traffic else None
    if traffic is None or sign is None:
        yield ok("endpoint", f"No endpoint of {agent!r} runs.")
        return
    age = (datetime.now(UTC) - sign.seen_at).total_seconds()
    if not is_endpoint_alive(traffic):
        statement = f"An endpoint says every 5 s that it answers; the one at {sign.url} last did {age:.0f} s ago, without saying goodbye."
        yield problem("endpoint", statement, "Start it again: agentgym serve, or agentgym up.")
    elif not is_answered(f"{sign.url}/healthz"):
        yield problem("endpoint", f"The endpoint at {sign.url} is there and does not answer.", "End it and start it again.")
    else:
        yield ok("endpoint", f"The endpoint answers at {sign.url}/v1.")


def look_at_traffic(agent: str, settings: Settings) -> Iterator[Finding]:
    """Whether what is served is what was decided, and whether every replica holds it."""
    traffic, ledger = _traffic(agent, settings), _ledger(agent, settings)
    latest = traffic.latest() if traffic else None
    if traffic is None or ledger is None or latest is None:
        yield ok("traffic", f"{agent!r} was never served.")
        return
    revision, _ = ABTestLog(settings.experience_url, agent).latest()
    serve = "It follows when an endpoint runs: agentgym serve."
    is_alive, told = is_endpoint_alive(traffic), f"Traffic plan {latest.plan.epoch}"
    waited = (datetime.now(UTC) - latest.at).total_seconds()
    if not is_in_line(latest.plan, registry_sequence=ledger.sequence(), test_revision=revision):
        statement = f"{told} follows an earlier champion or test than there is now."
        yield (
            problem("traffic", statement, "An endpoint follows within seconds: look again.")
            if is_alive
            else warning("traffic", statement, serve)
        )
    elif latest.state == "refused":
        repair = "What was served before still is. Restore the checkpoint, or take the version out: agentgym models rollback."
        yield problem("traffic", f"{told} was refused: {latest.problem}", repair)
    elif latest.state == "pending" and not is_alive:
        yield warning("traffic", f"{told} is held by no replica yet.", serve)
    elif latest.state == "pending" and waited > HOLD_SECONDS:
        yield problem("traffic", f"{told} has waited {waited:.0f} s for every replica to hold it.", "Start the endpoint again.")
    else:
        yield ok("traffic", f"{told} is in line with registry and tests, and {latest.state}: {latest.plan.reason}")


def look_at_keys(settings: Settings) -> Iterator[Finding]:
    keys = len(ApiKeys(settings.experience_url).digests_in_use()) if is_begun(settings.experience_url) else 0
    if keys:
        yield ok("keys", f"{keys} {'key is' if keys == 1 else 'keys are'} in use.")
    elif is_begun(settings.experience_url):
        yield warning("keys", "Who asks an endpoint needs a key; none is in use.", "agentgym keys create NAME")
    else:
        yield ok("keys", "No key is needed yet; the first endpoint makes one.")


def look_at_live_test(agent: str, settings: Settings) -> Iterator[Finding]:
    """A test compares the champion with something; when its control is champion no more, it tells nothing."""
    _, test = ABTestLog(settings.experience_url, agent).latest() if is_begun(settings.experience_url) else (0, None)
    if test is None or not test.is_running:
        yield ok("live test", "No test runs.")
        return
    champion = _champion(agent, settings)
    if champion is not None and champion.checkpoint_digest == test.control.checkpoint_digest:
        yield ok("live test", f"{test.test_id} runs since {test.started_at:%Y-%m-%d %H:%M}.")
    else:
        now = f"version {champion.version}" if champion else "nobody"
        statement = f"{test.test_id} compares with version {test.control.name}, which is champion no more; {now} is."
        yield problem("live test", statement, "Everybody is served the champion. End the test: agentgym ab stop.")


def look_at_forgotten(agent: str, settings: Settings) -> Iterator[Finding]:
    """Whether what was forgotten is gone, and whether the champion learned from it."""
    forgotten = forgotten_conversations(settings)
    tombstones = forgotten.tombstones if forgotten else ()
    unfinished = [tombstone for tombstone in tombstones if tombstone.state == "begun"]
    champion = _champion(agent, settings)
    learned = [each for each in tombstones if champion and _learned(each, agent, champion)]
    if unfinished:
        statement = f"{len(unfinished)} conversations are to be forgotten, and something of them may be left."
        yield problem("forgotten", statement, "Run agentgym traces forget again, with the same id.")
    elif learned and champion:
        statement = f"The champion, version {champion.version}, learned from {len(learned)} conversations that were forgotten since."
        yield warning("forgotten", statement, f"Learn again without them: agentgym improve --agent {agent}")
    elif tombstones:
        yield ok("forgotten", f"{len(tombstones)} conversations are forgotten; the champion learned from none of them.")
    else:
        yield ok("forgotten", "No conversation was forgotten.")


def _learned(tombstone: Tombstone, agent: str, champion: Pointer) -> bool:
    return champion.checkpoint_digest in tombstone.dependents.checkpoints or any(
        (version.agent, version.version) == (agent, champion.version) for version in tombstone.dependents.versions
    )


def _ledger(agent: str, settings: Settings) -> Ledger | None:
    is_there = is_begun(database_urls(settings)["history"])
    return open_ledger(settings.tracking_uri, agent, history_url=settings.history_url) if is_there else None


def _traffic(agent: str, settings: Settings) -> TrafficLog | None:
    return TrafficLog(settings.experience_url, agent) if is_begun(settings.experience_url) else None


def _champion(agent: str, settings: Settings) -> Pointer | None:
    ledger = _ledger(agent, settings)
    entries = ledger.entries() if ledger else ()
    return entries[-1].standing.champion if entries else None


def _in_words(aliases: dict[str, int]) -> str:
    return ", ".join(f"@{alias} is version {version}" for alias, version in sorted(aliases.items())) or "none is set"


def _without_password(url: str) -> str:
    return url if url.startswith("http") else make_url(url).render_as_string(hide_password=True)
