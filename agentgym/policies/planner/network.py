"""The planner's networks: a score for every option of a decision, and a softmax over the options of each.

A score is a small multilayer perceptron over dense features and the sum of the cells of a hashed table: generic features that carry over to
tools never seen, and words that can be learned one by one. On-policy training leaves both as imitation made them and learns a correction,
a second table that is added to the score: linear, so that what a rollout teaches about some words leaves everything else alone.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from agentgym.policies.planner.act_words import ACT_VOICES
from agentgym.policies.planner.acts import ACT_FEATURES, KINDS
from agentgym.policies.planner.arguments import ARGUMENT_FEATURES
from agentgym.policies.planner.batch import of_head

WORDS_SCALE: Final = 3.0


class Committee(nn.Module):
    """Perceptrons with two hidden layers that differ in nothing but where they began; together they err less than any of them.

    weights, biases: of each layer, shapes (M, inputs, outputs) and (M, 1, outputs).
    """

    def __init__(self, inputs: int, *, hidden: int, members: int) -> None:
        super().__init__()
        shapes = ((inputs, hidden), (hidden, hidden), (hidden, 1))
        self.weights = nn.ParameterList(torch.empty(members, *shape) for shape in shapes)
        self.biases = nn.ParameterList(torch.zeros(members, 1, shape[1]) for shape in shapes)
        self.begin(None)

    @torch.no_grad()
    def begin(self, generator: torch.Generator | None) -> None:
        """Draws all weights anew."""
        for weight, bias in zip(self.weights, self.biases, strict=True):
            bound = 1 / weight.shape[1] ** 0.5
            weight.uniform_(-bound, bound, generator=generator)
            bias.zero_()

    def forward(self, values: Tensor, change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """What each member makes of each option, shape (M, O).   values: shape (O, inputs).   change: of hidden values, while fitting."""
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weight + bias
            if place < len(self.weights) - 1:
                values = functional.gelu(values)
                values = values if change is None else change(values)
        return values[..., 0]


class Head(nn.Module):
    """Scores options: a perceptron over dense features and a table of word pairs.

    features: D.   bits: the table has 2**bits cells.   hidden: width of the two layers.   voices: V, groups of words whose sums the layers
    see apart.   switch: the dense feature whose weight is
    calibrated after imitation: calling rather than talking, leaving an argument out.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, features: int, *, bits: int, hidden: int, switch: int, voices: int = 1, members: int = 1) -> None:
        super().__init__()
        self.switch, self.voices = switch, voices
        self.table = nn.Parameter(torch.zeros(1 << bits, 1))
        self.correction = nn.Parameter(torch.zeros(1 << bits, 1))
        self.calibration = nn.Parameter(torch.zeros(()))
        self.layers = Committee(features + voices, hidden=hidden, members=members)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))

    def write_table(self, table: NDArray[np.float32]) -> None:
        """Sets the table, shape (cells,)."""
        self.table.data.copy_(torch.from_numpy(table)[:, None])

    def words(self, batch: Mapping[str, Tensor]) -> Tensor:
        """What the table says of each option, in each voice, shape (O, V)."""
        return words_said(self.table, batch, options=len(batch["dense"]), voices=self.voices)

    def forward(self, batch: Mapping[str, Tensor], words: Tensor | None = None) -> Tensor:
        """Scores, shape (O,).   words: of another table, in place of this one's, shape (O, V)."""
        return self.corrected(self.imitated(batch, words), batch)

    def corrected(self, imitated: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Scores, given those without the correction, shapes (O,)."""
        return imitated + words_said(self.correction, batch, options=len(imitated), voices=1)[:, 0]

    def imitated(self, batch: Mapping[str, Tensor], words: Tensor | None = None) -> Tensor:
        """Scores without the correction, shape (O,)."""
        said = self.words(batch) if words is None else words
        scores: Tensor = self.layers(self.inputs(batch["dense"], said)).mean(dim=0)
        return scores + self.calibration * batch["dense"][:, self.switch]

    def inputs(self, dense: Tensor, words: Tensor) -> Tensor:
        """What the layers see, shape (O, D + V)."""
        return torch.cat([((squashed(dense) - self.mean) / self.spread).clamp(-6, 6), words / WORDS_SCALE], dim=1)


def words_said(table: Tensor, batch: Mapping[str, Tensor], *, options: int, voices: int) -> Tensor:
    """The sums of the table's cells in the bags of each of O options, by voice.   table: shape (cells, 1).   Result: shape (O, voices)."""
    bags: Tensor = _BagSum.apply(table, batch["cells"], batch["offsets"])  # type: ignore[no-untyped-call]
    places = batch["link_options"] if voices == 1 else batch["link_options"] * voices + batch["voices"][batch["link_bags"]]
    return torch.zeros(options * voices).index_add(0, places, bags[batch["link_bags"]]).view(options, voices)


class _BagSum(torch.autograd.Function):
    """`embedding_bag` of width one; counting is many times faster than the sorting of its own backward pass."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, cells: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(cells, offsets)
        ctx.size = len(table)
        return functional.embedding_bag(cells, table, offsets, mode="sum")[:, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cells, offsets = ctx.saved_tensors
        widths = torch.diff(offsets, append=torch.tensor([len(cells)]))
        weights = torch.repeat_interleave(gradients[0], widths)
        return torch.bincount(cells, weights=weights, minlength=ctx.size).to(gradients[0].dtype)[:, None], None, None


class PlannerNetwork(nn.Module):
    """Both heads: what to do next, and what each argument is."""

    def __init__(self, *, bits: int, hidden: int, members: int) -> None:
        super().__init__()
        self.act = Head(ACT_FEATURES, bits=bits, hidden=hidden, switch=KINDS.index("call"), voices=ACT_VOICES, members=members)
        self.argument = Head(ARGUMENT_FEATURES, bits=bits, hidden=hidden, switch=ARGUMENT_FEATURES - 1, members=members)

    def learn_corrections(self) -> None:
        """From now on only the corrections learn."""
        self.requires_grad_(False)
        for _, head in self._heads():
            head.correction.requires_grad_(True)

    @torch.no_grad()
    def with_imitated(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Collated decisions with HEAD_imitated, shape (O,), in place of the dense features: what no update changes is computed once."""
        imitated = {f"{name}_imitated": head.imitated(of_head(name, batch)) for name, head in self._heads()}
        return imitated | {name: values for name, values in batch.items() if not name.endswith("_dense")}

    def _heads(self) -> tuple[tuple[str, Head], ...]:
        return ("act", self.act), ("argument", self.argument)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`log_probability` and `entropy` of the N decisions in `batch`, as `with_imitated` gave it, each shape (N,)."""
        parts = [_decided(head, of_head(name, batch)) for name, head in self._heads()]
        places = torch.cat([place for place, _, _ in parts])
        order = torch.argsort(places)
        return {
            "log_probability": torch.cat([log_probability for _, log_probability, _ in parts])[order],
            "entropy": torch.cat([entropy for _, _, entropy in parts])[order],
        }


def _decided(head: Head, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Place, log-probability and entropy of each decision of one head."""
    segments = batch["segments"]
    count = int(segments[-1]) + 1 if len(segments) else 0
    log_probabilities = segment_log_softmax(head.corrected(batch["imitated"], batch), segments, count)
    spread = torch.zeros(count).index_add(0, segments, log_probabilities.exp() * log_probabilities)
    return batch["places"], log_probabilities[batch["chosen"]], -spread[batch["sets"]]


def segment_log_softmax(scores: Tensor, segments: Tensor, count: int) -> Tensor:
    """Log-probabilities of options within each decision.   scores, segments: shape (O,).   Result: shape (O,)."""
    highest = torch.full((count,), -torch.inf, device=scores.device).scatter_reduce(0, segments, scores.detach(), "amax")
    shifted = scores - highest[segments]
    return shifted - torch.zeros(count, device=scores.device).index_add(0, segments, shifted.exp()).log()[segments]


def squashed(dense: Tensor) -> Tensor:
    """Counts and distances on a scale where the first few matter most."""
    return dense.sign() * dense.abs().log1p()
