"""The audit inside the flow: before anything is imitated or trained, and in front of a person."""

from pathlib import Path

import pytest

from agentgym.errors import Refused
from agentgym.reward import RewardWeights
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.registry import load_world
from agentgym.settings import Settings
from agentgym.traces.source import TraceSource
from agentgym.training.config import TrainingConfig
from flows.improve_agent import improve_agent
from tasks.artifacts import write_pack
from tasks.audit import audit_reward, read_audit, require_audited
from tasks.progress import Finished, Progress, listening


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inside = Settings().inside(tmp_path / "workspace")
    for name in ("workspace", "store", "tracking_uri"):
        monkeypatch.setenv(f"AGENTGYM_{name.upper()}", str(getattr(inside, name)))
    return tmp_path


def test_a_reward_that_pays_adversaries_stops_the_flow_before_anything_is_imitated(workspace: Path) -> None:
    world = load_world("lookup")
    log = workspace / "logs.jsonl"
    log.write_text("".join(trace.model_dump_json(exclude_defaults=True) + "\n" for trace in write_logs(world, world.legacy_agent(), 60, 0)))
    training = TrainingConfig(scenario="lookup", reward=RewardWeights(wrong_call=10.0, unresolved=10.0))
    ended: list[str] = []

    def note(event: Progress | Finished) -> None:
        if isinstance(event, Finished):
            ended.append(event.stage)

    with listening(note), pytest.raises(Refused, match="Nothing is trained by a reward that pays a shortcut"):
        improve_agent(TraceSource(path=log), scenario="lookup", training=training)
    assert ended[-1] == "audit reward"
    assert "imitate agent" not in ended


def test_an_audit_is_kept_and_a_waiver_lets_it_pass(settings: Settings) -> None:
    world = load_world("lookup")
    traces = list(write_logs(world, world.legacy_agent(), 60, 0))
    pack = write_pack(world.make_pack(traces, (), "digest"), settings)
    audited = audit_reward(pack, RewardWeights(wrong_call=10.0), 0, settings)
    assert audited.verdict == read_audit(audited, settings).verdict == "refuse"
    require_audited(audited, "Somebody wants to see.", settings)
    with pytest.raises(Refused):
        require_audited(audited, None, settings)


def test_where_no_reward_is_read_none_is_audited(settings: Settings) -> None:
    assert not TrainingConfig(method="sft").reads_reward
    assert not TrainingConfig(method="distill").reads_reward
    assert TrainingConfig().reads_reward
    require_audited(None, None, settings)
