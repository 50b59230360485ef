"""A policy in one file that cannot run code."""

import io
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from agentgym.episode import Conversation
from agentgym.errors import InvalidInput
from agentgym.messages import user
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.policies.planner import Gazetteer, Knowledge, Planner, PlannerConfig, PlannerNetwork
from agentgym.policies.planner.word_weights import WordWeights
from agentgym.tools import Tool

TOOL = Tool(name="find", parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
CONFIG = PlannerConfig(table_bits=8, hidden=4)


def planner() -> Planner:
    torch.manual_seed(0)
    knowledge = Knowledge(Gazetteer(names={"rome": "Rome"}, by_slot={"city": {"rome": 2}}), WordWeights({"find": 1.5}, 2.0))
    return Planner(PlannerNetwork(bits=CONFIG.table_bits, hidden=CONFIG.hidden, members=CONFIG.members), knowledge, CONFIG)


def checkpoint() -> Checkpoint:
    return planner().to_checkpoint(tools=[TOOL], training={"seed": 1}, lineage={"snapshot": "abc"})


def test_a_checkpoint_survives_its_bytes() -> None:
    before = checkpoint()
    after = Checkpoint.from_bytes(before.to_bytes())
    assert after == before
    assert after.digest == before.digest


def test_a_loaded_planner_acts_like_the_one_that_was_saved() -> None:
    conversations = [
        Conversation(
            conversation_id=str(n), messages=(user(f"find rome or paris {n}"),), tools=(TOOL,), now=datetime(2024, 1, 1, tzinfo=UTC)
        )
        for n in range(9)
    ]
    before, after = planner(), load_trainable_policy(Checkpoint.from_bytes(checkpoint().to_bytes()))
    one, two = (policy.act_batch(conversations, rng=np.random.default_rng(0)) for policy in (before, after))
    assert one == two


def test_a_checkpoint_with_new_weights_keeps_its_manifest_and_names_its_parent() -> None:
    policy, old = planner(), checkpoint()
    policy.network.act.table.data += 1
    new = old.with_weights_of(policy, training={"iterations": 3}, lineage={"pack": "def"})
    assert new.weights_digest != old.weights_digest
    assert new.manifest.tools == old.manifest.tools
    assert new.manifest.training == {"seed": 1, "iterations": 3}
    assert new.manifest.lineage == {"snapshot": "abc", "parent": old.digest, "pack": "def"}


def test_a_checkpoint_holds_no_pickle() -> None:
    with zipfile.ZipFile(io.BytesIO(checkpoint().to_bytes())) as archive:
        assert sorted(archive.namelist()) == ["knowledge.json", "manifest.json", "weights.safetensors"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x80\x04pickle"])
def test_other_bytes_are_no_checkpoint(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="A checkpoint is a zip"):
        Checkpoint.from_bytes(content)


def test_a_policy_of_an_unknown_kind_is_not_loaded() -> None:
    other = checkpoint()
    manifest = other.manifest.model_copy(update={"policy": "oracle"})
    with pytest.raises(InvalidInput, match="'oracle'"):
        load_trainable_policy(other.model_copy(update={"manifest": manifest}))


def test_weights_of_another_size_are_refused() -> None:
    other = checkpoint()
    manifest = other.manifest.model_copy(update={"configuration": {"table_bits": 9, "hidden": 4}})
    with pytest.raises(InvalidInput, match="Weights must fit"):
        load_trainable_policy(other.model_copy(update={"manifest": manifest}))
