"""What a language-model policy is made of."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

TINY: Final = "tiny"
"""The base that AgentGym makes itself from the conversations it is given; it is kept inside the checkpoint."""

Precision = Literal["float32", "bfloat16"]


class CausalLMConfig(BaseModel):
    """One language-model policy.

    base: `tiny`, a folder with a model and its tokenizer, or a hub id.   base_digest: of the files of that folder; None for `tiny`.
    rank, alpha: of the LoRA adapter (Hu et al. 2021, §4.1), added as alpha/rank · B·A.   precision: of the base; the adapter is float32.
    offers_candidates: arguments are chosen among the values found in the conversation and replies among a few short ones, which is what a
    small model can learn; without it values and words are written freely, within the tools' schemas.
    shows_tools: whether the prompt lists the tools in scope; `tiny` knows them from the conversations it was made of.
    max_words: tokens of a reply that is written freely.   checkpoints_gradients: computes activations twice to keep fewer of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["causal_lm"] = "causal_lm"
    base: str = TINY
    base_digest: str | None = None
    rank: int = Field(default=16, ge=1, le=1024)
    alpha: int = Field(default=32, ge=1)
    precision: Precision = "float32"
    offers_candidates: bool = True
    shows_tools: bool = False
    max_words: int = Field(default=96, ge=1, le=4096)
    checkpoints_gradients: bool = False
