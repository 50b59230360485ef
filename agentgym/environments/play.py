"""Plays one case with one policy."""

from agentgym.environments.case import Case
from agentgym.environments.conversation import ConversationEnv
from agentgym.episode import Action, Policy, Trajectory


def play_episode(environment: ConversationEnv, policy: Policy, case: Case, *, seed: int) -> Trajectory:
    """The trajectory of `policy` on `case`; equal seeds and an equal policy give an equal one."""
    conversation, _ = environment.reset(seed=seed, options={"case": case})
    actions: list[Action] = []
    has_ended = False
    while not has_ended:
        actions.append(policy.act(conversation))
        conversation, _, is_terminated, is_truncated, _ = environment.step(actions[-1].message)
        has_ended = is_terminated or is_truncated
    return environment.trajectory(actions)
