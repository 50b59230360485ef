"""Our side: Flow-GRPO on RLlib with the language-model policy. Prints one JSON object.

`--like-for-like` trains on every group, one update for what was played, as the other sides do; values and words are written freely, inside
the grammar of the tools, which the other sides have learned but not built in. Without it the policy chooses among candidates and the
algorithm is configured as the product configures it.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from task import CLIP_HIGH, CLIP_LOW, GRADIENT_NORM, GROUP_SIZE, GROUPS, LEARNING_RATE, Stopwatch, is_right, read_rows

from agentgym.environments.case import Case
from agentgym.episode import Action, Conversation, JudgedCall, Outcome, Trajectory
from agentgym.messages import Message, ToolCall
from agentgym.policies.causal_lm.chat_format import call_text
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.tools import Tool
from agentgym.training.config import TrainingConfig
from agentgym.training.flow_grpo.algorithm import FlowGRPOConfig
from agentgym.training.flow_grpo.ray_session import ray_session
from agentgym.training.flow_grpo.rollouts import Playground
from agentgym.training.flow_grpo.settings import FlowGRPOSettings

NOW = datetime(2025, 3, 3, 9, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--every", type=int, required=True)
    parser.add_argument("--like-for-like", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tools = tuple(Tool.model_validate(tool) for tool in json.loads((given.folder / "tools.json").read_text()))
    train, held_out = read_rows(given.folder, "train"), read_rows(given.folder, "held_out")
    checkpoint = Checkpoint.from_bytes((given.folder / ("free.zip" if given.like_for_like else "candidates.zip")).read_bytes())
    config = FlowGRPOConfig().training(
        create_policy=partial(load_trainable_policy, checkpoint),
        playground=Playground(
            create_environment=partial(AnswerOnce, tuple(train), tools),
            broadcast_rewards=lambda played: [played.reward],
            cases=cases_of(train),
        ),
        settings=like_for_like() if given.like_for_like else as_configured(),
        lr=LEARNING_RATE,
        batch_size=GROUPS,
        iterations=None if given.like_for_like else given.steps,
    )
    watch = Stopwatch(steps=given.steps, every=given.every)
    with ray_session(cpus=0):
        algorithm = config.env_runners(num_env_runners=0).debugging(seed=given.seed).build_flow_grpo()
        for step in range(given.steps + 1):
            if step % given.every == 0:
                watch.note(step, share_right(algorithm.policy, held_out, tools))
            if step == given.steps:
                break
            watch.start()
            algorithm.iterate()
            watch.pause()
        algorithm.close()
    print(json.dumps(watch.result(given.steps * GROUPS * GROUP_SIZE)))


def like_for_like() -> FlowGRPOSettings:
    return FlowGRPOSettings(
        group_size=GROUP_SIZE,
        epochs=1,
        kl_coefficient=0.0,
        credit="rollout",
        adam_epsilon=1e-8,
        clip_low=CLIP_LOW,
        clip_high=CLIP_HIGH,
        gradient_norm_limit=GRADIENT_NORM,
        drops_equal_groups=False,
    )


def as_configured() -> FlowGRPOSettings:
    """As the product trains a language model; with the groups of the other sides."""
    suited = TrainingConfig.suited_to("lookup", policy="causal_lm", base_model="tiny").flow_grpo
    return suited.model_copy(update={"group_size": GROUP_SIZE})


def cases_of(rows: Sequence[Mapping[str, Any]]) -> tuple[Case, ...]:
    return tuple(Case.model_validate(row["case"]) for row in rows)


def conversation_of(row: Mapping[str, Any], tools: tuple[Tool, ...]) -> Conversation:
    messages = tuple(Message.model_validate(message) for message in row["messages"])
    return Conversation(conversation_id=row["case"]["case_id"], messages=messages, tools=tools, now=NOW)


def answer_of(message: Message) -> str:
    return "".join(call_text(call.name, call.arguments) for call in message.tool_calls) or message.content


def share_right(policy: Any, rows: Sequence[Mapping[str, Any]], tools: tuple[Tool, ...]) -> float:
    actions = policy.act_batch([conversation_of(row, tools) for row in rows], rng=None)
    return float(np.mean([is_right(answer_of(action.message), row["expected"]) for action, row in zip(actions, rows, strict=True)]))


class AnswerOnce:
    """An environment that ends with the first answer."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], tools: tuple[Tool, ...]) -> None:
        self._rows = {row["case"]["case_id"]: row for row in rows}
        self._tools = tools

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Conversation, Mapping[str, Any]]:
        assert options is not None, "the case is given"
        self._case: Case = options["case"]
        self._conversation = conversation_of(self._rows[self._case.case_id], self._tools)
        return self._conversation, {}

    def step(self, action: Message) -> tuple[Conversation, float, bool, bool, Mapping[str, Any]]:
        self._answer = action
        return self._conversation, 0.0, True, False, {}

    def trajectory(self, actions: Sequence[Action]) -> Trajectory:
        right = is_right(answer_of(self._answer), self._rows[self._case.case_id]["expected"])
        call = next(iter(self._answer.tool_calls), ToolCall(name="none"))
        return Trajectory(
            case_id=self._case.case_id,
            kind=self._case.kind,
            cluster_id=self._case.cluster_id,
            messages=(*self._conversation.messages, self._answer),
            actions=tuple(actions),
            calls=(JudgedCall(call=call, is_correct=right, is_right_tool=right),),
            missing_calls=(),
            outcome=Outcome.RESOLVED if right else Outcome.UNRESOLVED,
            satisfaction_score=None,
            agent_tokens=0,
            simulated_seconds=0.0,
            reward_terms={"right": float(right)},
        )


if __name__ == "__main__":
    main()
