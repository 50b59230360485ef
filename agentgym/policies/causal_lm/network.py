"""The model with its adapter, as it learns: log-probabilities of the tokens that were decided, and only of those."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from agentgym.errors import InvalidInput
from agentgym.policies.causal_lm.config import CausalLMConfig
from agentgym.policies.planner.network import segment_log_softmax

PADDED_TOKENS = 16384
"""How many tokens, padding included, go through the model at once."""
_BASE, _ADAPTER, _LORA = "base.", "adapter.", "lora_"


class CausalLMNetwork(nn.Module):
    """A causal language model with a LoRA adapter, of which only the adapter learns.

    lm: the model; it is changed in place. Adapters sit on every linear layer but the output's, as in Dettmers et al. 2023 (QLoRA), §4.
    """

    lm: Any

    def __init__(self, lm: Any, config: CausalLMConfig) -> None:
        super().__init__()
        _require_plain_output(lm)
        lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
        with warnings.catch_warnings():
            # peft still asks for it by the name that transformers is going to drop.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            self.lm = get_peft_model(lm, lora).get_base_model()
        self.lm.eval()
        if config.checkpoints_gradients:
            _require_no_dropout(lm)
            self.lm.activation_checkpointing_enable()
            self.lm.enable_input_require_grads()
            # Only then does transformers compute activations again.
            self.lm.train()

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`log_probability` and `entropy`, shape (N,), of the N decisions in a batch as `collated` gives it."""
        return decided(self.lm, batch)

    @property
    def reach(self) -> int:
        """How many tokens another one can look at for the price of all else a layer computes for it, by the number of multiplications."""
        config = self.lm.config.get_text_config()
        width = config.num_attention_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        embeddings = {id(layer.weight) for layer in (self.lm.get_input_embeddings(), self.lm.get_output_embeddings())}
        weights = sum(values.numel() for values in self.lm.parameters() if id(values) not in embeddings)
        return int(weights // (2 * config.num_hidden_layers * width))

    def adapted(self) -> Iterator[tuple[str, Any]]:
        """Each layer with an adapter, by its name in the plain model."""
        for name, layer in self.lm.named_modules():
            if hasattr(layer, "lora_A"):
                yield name, layer

    def adapter_tensors(self) -> dict[str, Tensor]:
        return {_ADAPTER + name: values for name, values in self.lm.named_parameters() if _LORA in name}

    def base_tensors(self) -> dict[str, Tensor]:
        """Everything but the adapter, by its name in the plain model."""
        return {_BASE + plain_name(name): values for name, values in self.lm.named_parameters() if _LORA not in name}

    def learn_base(self) -> list[Tensor]:
        """From now on the base learns, without its adapter; what learns."""
        return self._learn(is_base=True)

    def learn_adapter(self) -> list[Tensor]:
        """From now on only the adapter learns, as at the beginning."""
        return self._learn(is_base=False)

    def _learn(self, *, is_base: bool) -> list[Tensor]:
        for _, layer in self.adapted():
            layer.enable_adapters(not is_base)
        for name, values in self.lm.named_parameters():
            values.requires_grad_((_LORA in name) != is_base)
        return [values for values in self.lm.parameters() if values.requires_grad]

    def read(self, tensors: Mapping[str, Tensor]) -> None:
        """Sets the adapter, and the base where `tensors` hold it. Raises InvalidInput where they do not fit."""
        own = self.adapter_tensors() | {name: values for name, values in self.base_tensors().items() if name in tensors}
        if own.keys() != tensors.keys() or any(own[name].shape != values.shape for name, values in tensors.items()):
            wrong = sorted(own.keys() ^ tensors.keys()) or [name for name, values in tensors.items() if own[name].shape != values.shape]
            raise InvalidInput(f"An adapter must fit its base model; {wrong[0]!r} does not. Use the base that the adapter was trained on.")
        with torch.no_grad():
            for name, values in tensors.items():
                own[name].copy_(values)


def plain_name(name: str) -> str:
    """The name a tensor has before adapters are put in."""
    return name.replace(".base_layer", "")


def decided(lm: Any, batch: Mapping[str, Tensor], *, reads: bool = False) -> dict[str, Tensor]:
    """See `CausalLMNetwork.forward`; for any causal language model of `transformers`.

    reads: adds `read`, the log-probability of every token of every row but its first, whoever wrote it.
    """
    device = lm.get_input_embeddings().weight.device
    batch = {name: values.to(device) for name, values in batch.items()}
    starts = torch.cumsum(batch["tree_lengths"], 0) - batch["tree_lengths"]
    parts = [_decided_in(lm, batch, trees, starts, reads=reads) for trees in parts_of_equal_length(batch["tree_lengths"].tolist())]
    order = torch.argsort(torch.cat([part.places for part, _ in parts]))
    outputs = {
        "log_probability": torch.cat([part.log_probability for part, _ in parts])[order],
        "entropy": torch.cat([part.entropy for part, _ in parts])[order],
    }
    return outputs | ({"read": torch.cat([read for _, read in parts])} if reads else {})


class _Decided(NamedTuple):
    """Of some decisions: which of the batch they are, their log-probabilities and entropies, shapes (n,)."""

    places: Tensor
    log_probability: Tensor
    entropy: Tensor


def parts_of_equal_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of rows of about equal length, as many at once as there is room for when all are padded to the longest."""
    chunk: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if chunk and (len(chunk) + 1) * lengths[row] > PADDED_TOKENS:
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def _decided_in(lm: Any, batch: Mapping[str, Tensor], trees: Sequence[int], starts: Tensor, *, reads: bool) -> tuple[_Decided, Tensor]:
    """The decisions in some trees, and what is read in them. Padding stands on the right, where nothing looks."""
    lengths = batch["tree_lengths"][trees]
    inside = torch.arange(int(lengths.max()), device=lengths.device)[None, :]
    filled = inside < lengths[:, None]
    of_token = torch.where(filled, starts[trees][:, None] + inside, 0)
    tokens, ends, positions = (torch.where(filled, batch[name][of_token], 0) for name in ("tokens", "ends", "positions"))
    sight = _sight(ends, lengths, lm.dtype)
    # Where order alone tells, saying the positions would cost a mask: the model would look for several rows in one.
    seen = {} if sight is None else {"attention_mask": sight, "position_ids": positions}
    hidden = lm.get_decoder()(input_ids=tokens, use_cache=False, **seen).last_hidden_state
    tree_of = torch.full((len(batch["tree_lengths"]),), -1, device=tokens.device)
    tree_of[trees] = torch.arange(len(trees), device=tokens.device)
    places = torch.nonzero(tree_of[batch["trees"]] >= 0)[:, 0]
    chosen_hidden = hidden[tree_of[batch["trees"][places]], batch["places"][places]]
    narrow, wide = _narrow(lm, batch, places, chosen_hidden), _wide(lm, batch, places, chosen_hidden)
    both = _Decided(*(torch.cat(parts) for parts in zip(narrow, wide, strict=True)))
    if not reads:
        return both, hidden.new_zeros(0)
    parents = torch.where(filled, batch["parents"][of_token], 0)
    return both, _read(lm, hidden, tokens, parents, filled & (positions > 0))


def _sight(ends: Tensor, lengths: Tensor, dtype: torch.dtype) -> Tensor | None:
    """What each token sees: itself and the tokens it hangs on, shape (R, 1, L, L); None where no tree branches and order alone tells.

    ends: shape (R, L).   lengths: shape (R,).
    """
    inside = torch.arange(ends.shape[1], device=ends.device)
    if bool((ends == lengths[:, None]).logical_or(inside >= lengths[:, None]).all()):
        return None
    is_seen = (inside[None, None, :] <= inside[None, :, None]) & (inside[None, :, None] < ends[:, None, :])
    is_seen |= torch.eye(len(inside), dtype=torch.bool, device=ends.device)
    return torch.where(is_seen, 0.0, torch.finfo(dtype).min).to(dtype)[:, None]


def _read(lm: Any, hidden: Tensor, tokens: Tensor, parents: Tensor, is_read: Tensor) -> Tensor:
    """Log-probability of each token given those it hangs on.   hidden: shape (R, L, d).   tokens, parents, is_read: shape (R, L)."""
    before = hidden.gather(1, parents[..., None].expand_as(hidden))
    scores = lm.get_output_embeddings()(before[is_read]).float()
    return torch.log_softmax(scores, -1).gather(1, tokens[is_read][:, None])[:, 0]


def _narrow(lm: Any, batch: Mapping[str, Tensor], places: Tensor, hidden: Tensor) -> _Decided:
    """Decisions between few tokens: only their rows of the output layer are computed."""
    is_narrow = batch["counts"][places] > 0
    places, hidden = places[is_narrow], hidden[is_narrow]
    counts = batch["counts"][places]
    firsts = (torch.cumsum(batch["counts"], 0) - batch["counts"])[places]
    segments = torch.repeat_interleave(torch.arange(len(places), device=places.device), counts)
    begins = torch.cumsum(counts, 0) - counts
    members = torch.arange(len(segments), device=places.device) - begins[segments] + firsts[segments]
    output = lm.get_output_embeddings()
    scores = (hidden[segments] * output.weight[batch["allowed"][members]]).sum(-1).float()
    log_probabilities = segment_log_softmax(scores, segments, len(places))
    spread = torch.zeros(len(places), device=scores.device).index_add(0, segments, log_probabilities.exp() * log_probabilities)
    return _Decided(places, log_probabilities[begins + batch["chosen"][places]], -spread)


def _wide(lm: Any, batch: Mapping[str, Tensor], places: Tensor, hidden: Tensor) -> _Decided:
    """Decisions between most of the vocabulary."""
    is_wide = batch["counts"][places] == 0
    places, hidden = places[is_wide], hidden[is_wide]
    scores = lm.get_output_embeddings()(hidden).float()
    scores = scores.masked_fill(~batch["wide"][batch["wide_of"][places]], -torch.inf) if len(places) else scores
    log_probabilities = torch.log_softmax(scores, -1)
    entropy = -torch.where(log_probabilities.isfinite(), log_probabilities.exp() * log_probabilities, 0).sum(-1)
    return _Decided(places, log_probabilities.gather(1, batch["chosen"][places][:, None])[:, 0], entropy)


def _require_no_dropout(lm: Any) -> None:
    """What is dropped by chance in training gives other log-probabilities than sampling did."""
    drops = {name: rate for name, rate in lm.config.get_text_config().to_dict().items() if "dropout" in name and rate}
    if drops:
        raise InvalidInput(
            f"Checkpointing gradients needs a base without dropout, which would make learning differ from sampling; got {drops!r}. "
            "Set them to 0 in the base's config.json."
        )


def _require_plain_output(lm: Any) -> None:
    """Scores must be the output layer's of the decoder's last state, as they are computed for chosen places only."""
    tokens = torch.tensor([[0, 1, 2, 3]], device=lm.get_input_embeddings().weight.device) % lm.config.get_text_config().vocab_size
    output = lm.get_output_embeddings()
    with torch.no_grad():
        whole = lm(input_ids=tokens).logits.float()
        ours = output(lm.get_decoder()(input_ids=tokens, use_cache=False).last_hidden_state).float()
    if getattr(output, "bias", None) is not None or not torch.allclose(whole, ours, rtol=1e-2, atol=1e-2):
        raise InvalidInput(
            f"A base model must score tokens by its output layer alone; {type(lm).__name__} does something else to the scores. "
            "Use a model such as Qwen, Llama or Gemma 3."
        )


def tensors(batch: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in batch.items()}
