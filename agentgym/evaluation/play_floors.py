"""What any policy has to beat where cases are played: one that always talks, and one that always makes the commonest call.

Both are deterministic and know nothing of the case. Those of recorded dialogues, where the next call is asked for, are in `floors`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from agentgym.environments.case import Case
from agentgym.episode import Action, Conversation, Policy
from agentgym.evaluation.evaluate import evaluate_policy
from agentgym.evaluation.floors import AlwaysTalk
from agentgym.evaluation.plausible import plausible_arguments
from agentgym.messages import ToolCall, assistant
from agentgym.scenarios.scenario import Scenario
from agentgym.verdicts import EvaluationReport, Subject

PLAY_FLOORS = ("always_talk", "majority_action")


def play_floors(train: Sequence[Case]) -> dict[str, Policy]:
    """The floors by name; `train`: what the commonest call is counted in."""
    return dict(zip(PLAY_FLOORS, (AlwaysTalk(), MajorityAction.of(train)), strict=True))


def evaluate_play_floors(
    scenario: Scenario, train: Sequence[Case], cases: Sequence[Case], *, train_digest: str, seed: int
) -> list[EvaluationReport]:
    """What players without skill reach on these cases: the reports a version must be well above."""
    return [
        evaluate_policy(floor, scenario, cases, subject=Subject(name=name, checkpoint_digest=train_digest), seed=seed)
        for name, floor in play_floors(train).items()
    ]


@dataclass(frozen=True)
class MajorityAction:
    """Calls the tool that is due most often, once each time the customer speaks, with arguments that look right; else it talks.

    tool: empty where no case calls for one.
    """

    tool: str

    @classmethod
    def of(cls, cases: Sequence[Case]) -> "MajorityAction":
        called = Counter(call.name for case in cases for call in case.expected_calls)
        return cls(called.most_common(1)[0][0] if called else "")

    def act(self, conversation: Conversation) -> Action:
        tool = next((tool for tool in conversation.tools if tool.name == self.tool), None)
        if tool is None or conversation.messages[-1].role != "user":
            return Action(message=assistant())
        arguments = plausible_arguments(tool, conversation.messages)
        return Action(message=assistant("", ToolCall(name=tool.name, arguments=arguments)))
