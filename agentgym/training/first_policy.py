"""The policy that training begins with: what the agent does today, where it goes well."""

from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from agentgym.policies.causal_lm.config import TINY, CausalLMConfig
from agentgym.policies.checkpoint import Checkpoint
from agentgym.tools import Tool
from agentgym.traces.trace import Trace
from agentgym.training.config import TrainingConfig
from agentgym.training.warm_start import ImitationConfig, imitate

Progress = Callable[[str, float], None]


def first_policy(
    traces: Sequence[Trace],
    *,
    config: TrainingConfig,
    tools: Sequence[Tool] = (),
    seed: int,
    device: str = "cpu",
    planner: ImitationConfig | None = None,
    training: Mapping[str, JsonValue] | None = None,
    lineage: Mapping[str, str] | None = None,
    on_progress: Progress = lambda stage, share: None,
) -> Checkpoint:
    """A checkpoint that imitates the accepted conversations.

    config: says which policy, and on which base.   tools: in scope where a trace names none.   device: a language model learns on.
    planner: how a planner imitates; None for its defaults.
    training, lineage: for the manifest.   on_progress: told the stage and the share of it that is done.
    """
    if config.policy == "planner":
        imitated = imitate(traces, tools=tools, seed=seed, config=planner, on_progress=on_progress)
        return imitated.to_checkpoint(tools=tools, training=training, lineage=lineage)
    # A planner learns without importing what language models need.
    from agentgym.training.language_imitation import LanguageImitationConfig, imitate_in_language

    asked = LanguageImitationConfig(causal_lm=language_model(config, device=device))
    lm = imitate_in_language(traces, tools=tools, seed=seed, config=asked, device=device, on_progress=on_progress)
    return lm.to_checkpoint(tools=tools, training=training, lineage=lineage)


def language_model(config: TrainingConfig, *, device: str) -> CausalLMConfig:
    """The language model a training asks for.

    A base that has seen other tools has to be shown these; on a GPU half the bits are twice the speed.
    """
    assert config.base_model is not None, "a configuration names a base where the policy is a language model"
    return CausalLMConfig(
        base=config.base_model,
        rank=config.rank,
        alpha=2 * config.rank,
        offers_candidates=config.offers_candidates,
        checkpoints_gradients=config.checkpoints_gradients,
        shows_tools=config.base_model != TINY,
        precision="float32" if device == "cpu" else "bfloat16",
    )
