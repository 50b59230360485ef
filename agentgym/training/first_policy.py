"""The policy that training begins with: what the agent does today, where it goes well."""

from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from agentgym.policies.causal_lm.config import TINY, CausalLMConfig
from agentgym.policies.checkpoint import Checkpoint
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.training.config import Learner
from agentgym.training.warm_start import ImitationConfig, imitate

Progress = Callable[[str, float], None]


def first_policy(
    traces: Sequence[Trace],
    *,
    learner: Learner,
    tools: Sequence[Tool] = (),
    seed: int,
    device: str = "cpu",
    planner: ImitationConfig | None = None,
    training: Mapping[str, JsonValue] | None = None,
    lineage: Mapping[str, str] | None = None,
    on_progress: Progress = lambda stage, share: None,
) -> Checkpoint:
    """A checkpoint that imitates the accepted conversations.

    tools: in scope where a trace names none.   device: a language model learns on.   planner: how it imitates; None for its defaults.
    training, lineage: for the manifest.   on_progress: told the stage and the share of it that is done.
    """
    if learner.policy == "planner":
        imitated = imitate(traces, tools=tools, seed=seed, config=planner, on_progress=on_progress)
        return imitated.to_checkpoint(tools=tools, training=training, lineage=lineage)
    # A planner learns without importing what language models need.
    from agentgym.training.language_imitation import LanguageImitationConfig, imitate_in_language

    asked = LanguageImitationConfig(causal_lm=language_model(learner, device=device))
    lm = imitate_in_language(traces, tools=tools, seed=seed, config=asked, device=device, on_progress=on_progress)
    return lm.to_checkpoint(tools=tools, training=training, lineage=lineage)


def language_model(learner: Learner, *, device: str) -> CausalLMConfig:
    """The language model that is to learn.

    A base that has seen other tools has to be shown these; on a GPU half the bits are twice the speed.
    """
    assert learner.base_model is not None, "a configuration names a base where the policy is a language model"
    return CausalLMConfig(
        base=learner.base_model,
        rank=learner.rank,
        alpha=2 * learner.rank,
        offers_candidates=learner.offers_candidates,
        checkpoints_gradients=learner.checkpoints_gradients,
        shows_tools=learner.base_model != TINY,
        precision="float32" if device == "cpu" else "bfloat16",
    )
