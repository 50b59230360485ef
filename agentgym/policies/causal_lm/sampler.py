"""Writing many responses at once: equal prompts are computed once, tokens without a choice are not decided, finished rows leave."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from agentgym.policies.causal_lm.grammar import Cursor, Tokens
from agentgym.policies.causal_lm.network import CausalLMNetwork, parts_of_equal_length

_WORTH_DROPPING = 0.75


class Sampler:
    """Samples from a network's model with the adapter merged into its weights, so that the adapter costs nothing.

    The plain model shares every tensor that no adapter changes. Weights are merged anew when the adapter was written to.
    """

    def __init__(self, plain: Any, network: CausalLMNetwork) -> None:
        self._lm, self._network = plain.eval(), network
        self._layers = dict(plain.named_modules())
        self._merged: int | None = None
        for name, _ in network.adapted():
            weight = self._layers[name].weight
            self._layers[name].weight = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)

    @torch.no_grad()
    def write(self, prompts: Sequence[Tokens], cursors: Sequence[Cursor], rng: np.random.Generator | None) -> list[list[float]]:
        """Writes every response to its end; of each, the log-probabilities of its decisions.   rng: None takes the likeliest tokens."""
        lm = self.merged()
        log_probabilities: list[list[float]] = [[] for _ in cursors]
        waiting: dict[Tokens, list[int]] = {}
        for place, (prompt, cursor) in enumerate(zip(prompts, cursors, strict=True)):
            if not cursor.is_done:
                waiting.setdefault(prompt, []).append(place)
        distinct = list(waiting)
        for part in parts_of_equal_length([len(prompt) for prompt in distinct]):
            chunk = [distinct[place] for place in part]
            members = [(number, place) for number, prompt in enumerate(chunk) for place in waiting[prompt]]
            _Writing(lm, cursors, log_probabilities, rng).run(chunk, members)
        return log_probabilities

    def merged(self) -> Any:
        """The plain model, with W + alpha/rank · B·A in place of each W.

        Merged anew where one of them has changed since: tensors count how often they are written.
        """
        device, adapted = self._network.lm.device, list(self._network.adapted())
        if self._lm.device != device or any(self._layers[name].weight.device != device for name, _ in adapted):
            # The network was moved; what is not shared with it has stayed behind.
            self._lm.to(device)
        version = sum(values._version for _, layer in adapted for values in layer.parameters())
        if version == self._merged:
            return self._lm
        for name, layer in adapted:
            adapter = layer.active_adapters[0]
            weight = layer.base_layer.weight
            self._layers[name].weight.copy_((weight.float() + layer.get_delta_weight(adapter).float()).to(weight.dtype))
        self._merged = version
        return self._lm


def shared_copy(lm: Any) -> Any:
    """The same model with the same tensors, for adapters to be put into the one and not the other."""
    shared = {id(values): values for values in (*lm.parameters(), *lm.buffers())}
    return copy.deepcopy(lm, shared)


class _Writing:
    """Some responses while they are written."""

    def __init__(self, lm: Any, cursors: Sequence[Cursor], log_probabilities: list[list[float]], rng: np.random.Generator | None) -> None:
        self._lm, self._cursors, self._log_probabilities, self._rng = lm, cursors, log_probabilities, rng
        self._device = lm.get_input_embeddings().weight.device

    def run(self, prompts: Sequence[Tokens], members: Sequence[tuple[int, int]]) -> None:
        """members: the prompt of each response, by number, and the place of its cursor."""
        tokens, mask = _left_padded(prompts, self._device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._lm.config)
        logits = self._step(tokens, mask, positions, cache)
        ready = [(number, place) for number, place in members if not self._cursors[place].tokens]
        self._decide(logits[[number for number, _ in ready]], [place for _, place in ready])
        members = [(number, place) for number, place in members if not self._cursors[place].is_done]
        if not members:
            return
        of_prompt = torch.tensor([number for number, _ in members], device=self._device)
        cache.batch_select_indices(of_prompt)
        self._go_on([place for _, place in members], cache, mask[of_prompt], positions[of_prompt, -1])

    def _go_on(self, live: list[int], cache: DynamicCache, mask: Tensor, last: Tensor) -> None:
        """Feeds what was written and decides what comes next, until every response is done."""
        fed = dict.fromkeys(live, 0)
        while live:
            tokens, is_token = _left_padded([self._cursors[place].tokens[fed[place] :] for place in live], self._device)
            mask = torch.cat([mask, is_token], dim=1)
            positions = (last[:, None] + is_token.cumsum(-1)).clamp(min=0)
            last = positions[:, -1]
            for place in live:
                fed[place] = len(self._cursors[place].tokens)
            logits = self._step(tokens, mask, positions, cache)
            going = [row for row, place in enumerate(live) if not self._cursors[place].is_done]
            self._decide(logits[going], [live[row] for row in going])
            kept = [row for row in going if not self._cursors[live[row]].is_done]
            if len(kept) <= _WORTH_DROPPING * len(live):
                rows = torch.tensor(kept, dtype=torch.long, device=self._device)
                cache.batch_select_indices(rows)
                mask, last, live = mask[rows], last[rows], [live[row] for row in kept]

    def _step(self, tokens: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """Scores of the next token of each row, shape (B, V)."""
        output = self._lm(
            input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        scores: Tensor = output.logits[:, -1].float()
        return scores

    def _decide(self, logits: Tensor, places: Sequence[int]) -> None:
        """One decision of each response.   logits: shape (B, V)."""
        narrow = [row for row, place in enumerate(places) if not self._cursors[place].allowed.is_wide]
        wide = [row for row, place in enumerate(places) if self._cursors[place].allowed.is_wide]
        draws = None if self._rng is None else self._rng.random(len(places))
        for rows in filter(None, (narrow, wide)):
            given = [self._cursors[places[row]].allowed.ids for row in rows]
            width = max(map(len, given))
            ids, is_there = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.bool_)
            for number, allowed in enumerate(given):
                ids[number, : len(allowed)], is_there[number, : len(allowed)] = allowed, True
            scores = logits[rows].gather(1, torch.from_numpy(ids).to(self._device))
            scores = scores.masked_fill(~torch.from_numpy(is_there).to(self._device), -torch.inf)
            logs = torch.log_softmax(scores, -1).cpu().numpy()
            chosen = logs.argmax(1) if draws is None else _drawn(logs, draws[rows])
            for number, row in enumerate(rows):
                self._log_probabilities[places[row]].append(float(logs[number, chosen[number]]))
                self._cursors[places[row]].choose(int(chosen[number]))


def _drawn(logs: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """A place in each row drawn from its probabilities.   logs: shape (B, A).   draws: uniform in 0–1, shape (B,)."""
    cumulated = np.exp(logs.astype(np.float64)).cumsum(1)
    return np.asarray((cumulated < draws[:, None] * cumulated[:, -1:]).sum(1))


def _left_padded(rows: Sequence[Sequence[int]], device: Any) -> tuple[Tensor, Tensor]:
    """Tokens with their ends aligned, and where there are any, shapes (B, L)."""
    width = max(1, *map(len, rows))
    tokens, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    for number, row in enumerate(rows):
        if row:
            tokens[number, width - len(row) :], mask[number, width - len(row) :] = row, 1
    return torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device)
