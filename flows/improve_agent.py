"""One turn of the loop: from conversation logs to a version that passed the gate, or to the reasons why it did not."""

from prefect import flow
from pydantic import BaseModel, ConfigDict

from agentgym.errors import InvalidInput
from agentgym.registry import ModelVersion
from agentgym.scenarios.fidelity import FidelityBar
from agentgym.settings import Settings, read_settings
from agentgym.store import ArtifactRef
from agentgym.traces.source import TraceSource
from agentgym.training.config import TrainingConfig
from agentgym.training.warm_start import ImitationConfig
from tasks.audit import Audited, audit_reward, require_audited
from tasks.evaluation import Gate, decide_on_promotion, evaluate_baselines, evaluate_checkpoint, evaluate_edges, evaluate_regressions
from tasks.fidelity import Fidelity, measure_environment, require_fidelity
from tasks.ray_job import stop_jobs
from tasks.registry import bootstrap_champion, find_champion, find_incumbent, promote_version, register_version
from tasks.scenarios import synthesize_scenario
from tasks.serving import collect_served
from tasks.traces import Ingested, fingerprint_source, ingest_traces
from tasks.training import imitate_agent, train_policy

BOOTSTRAP_REASON = "First version of this agent: it imitates what the agent did in the logs where it went well."


class Improvement(BaseModel):
    """What a turn of the loop leaves behind, by reference.

    audit: of the reward; None where the method reads none.
    incumbent: the champion that the challenger was judged against.   baselines: reports on the logs themselves, or on simple predictors.
    edge_reports: the challenger's and the incumbent's on edge cases; empty where there are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ingested: Ingested
    pack: ArtifactRef
    fidelity: Fidelity
    audit: Audited | None
    incumbent: ModelVersion
    challenger: ModelVersion
    incumbent_report: ArtifactRef
    challenger_report: ArtifactRef
    baselines: tuple[ArtifactRef, ...]
    edge_reports: tuple[ArtifactRef, ...] = ()
    gate: Gate

    @property
    def report_refs(self) -> tuple[ArtifactRef, ...]:
        """The challenger's, the incumbent's, then the baselines'."""
        return (self.challenger_report, self.incumbent_report, *self.baselines)


@flow(name="improve-agent", on_cancellation=[stop_jobs], on_crashed=[stop_jobs])
def improve_agent(
    source: TraceSource | None = None,
    scenario: str = "recorded",
    imitation: ImitationConfig = ImitationConfig(),  # noqa: B008 - frozen
    training: TrainingConfig | None = None,
    agent: str = "agent",
    seed: int = 0,
    waive_live_test: str | None = None,
    waive_fidelity: str | None = None,
    fidelity_bar: FidelityBar = FidelityBar(),  # noqa: B008 - frozen
) -> Improvement:
    """Learns from the source and puts the result before the gate.

    source: None for the conversations that were served.   scenario: the world the logs are from; `recorded` makes one from them.
    imitation: of a planner.   training: None for what suits the scenario; it says which policy learns, and by which reward.
    waive_live_test: why an accepted version may become champion without a live test; without a reason it becomes challenger.
    waive_fidelity: why anything may be trained in an environment below the bar of fidelity; without a reason it is refused.
    fidelity_bar: what the environment must show on the held-out conversations.
    """
    settings = read_settings()
    source = source or collect_served(agent, settings)
    ingested = ingest_traces(source, fingerprint_source(source, settings), settings, scenario)
    snapshot = ingested.snapshot
    training = training or TrainingConfig.suited_to(scenario, seed=seed)
    pack = synthesize_scenario(snapshot, scenario, settings)
    fidelity = measure_environment(snapshot, pack, fidelity_bar, settings)
    waived = require_fidelity(fidelity, waive_fidelity, settings)
    audit = audit_reward(pack, training.reward, seed, settings) if training.reads_reward else None
    require_audited(audit, training.waive_audit, settings)
    start = imitate_agent(snapshot, imitation, training.learner, seed, settings)
    teacher = _require_champion(agent, settings).checkpoint if training.method == "distill" else None
    trained = train_policy(pack, start, snapshot, teacher, training, settings)

    _ensure_champion(agent, start, snapshot, pack, settings)
    challenger = register_version(agent, trained, snapshot, pack, f"{training.method} from imitation", settings, fidelity.report, waived)
    incumbent = find_incumbent(agent, challenger, settings)

    baselines = evaluate_baselines(snapshot, pack, settings)
    incumbent_report = evaluate_checkpoint(incumbent.checkpoint, pack, f"version {incumbent.version}", seed, settings)
    challenger_report = evaluate_checkpoint(challenger.checkpoint, pack, f"version {challenger.version}", seed, settings)
    edges = [evaluate_edges(each.checkpoint, pack, f"version {each.version}", seed, settings) for each in (challenger, incumbent)]
    past = [evaluate_regressions(each.checkpoint, agent, f"version {each.version}", seed, settings) for each in (challenger, incumbent)]
    gate = decide_on_promotion(challenger_report, incumbent_report, settings, *past)
    if gate.promote:
        promote_version(agent, gate.decision, waive_live_test, settings, waived)

    return Improvement(
        ingested=ingested,
        pack=pack,
        fidelity=fidelity,
        audit=audit,
        incumbent=incumbent,
        challenger=challenger,
        incumbent_report=incumbent_report,
        challenger_report=challenger_report,
        baselines=tuple(baselines),
        edge_reports=tuple(report for report in edges if report),
        gate=gate,
    )


def _require_champion(agent: str, settings: Settings) -> ModelVersion:
    """Who teaches where a policy is distilled."""
    champion = find_champion(agent, settings)
    if champion is None:
        raise InvalidInput(f"Distillation learns from the champion; {agent!r} has none yet. Improve it by another method first.")
    return champion


def _ensure_champion(agent: str, imitation: ArtifactRef, snapshot: ArtifactRef, pack: ArtifactRef, settings: Settings) -> None:
    if find_champion(agent, settings) is None:
        first = register_version(agent, imitation, snapshot, pack, "Imitation of the logs", settings)
        bootstrap_champion(agent, first, BOOTSTRAP_REASON, settings)
