"""What every side of the training benchmark plays: one question, one answer, right or wrong. Standard library, torch and transformers only.

A row is `{"prompt": text, "expected": the right call as text, or null where none is right}`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

GROUPS, GROUP_SIZE, MAX_NEW_TOKENS = 16, 8, 40
LEARNING_RATE, RANK, ALPHA, CLIP_LOW, CLIP_HIGH, GRADIENT_NORM = 2e-3, 16, 32, 0.2, 0.28, 1.0
GOAL = 0.95


def read_rows(folder: Path, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{part}.jsonl").read_text().splitlines()]


def is_right(answer: str, expected: str | None) -> bool:
    """Whether the answer is the call expected, or calls nothing where nothing is to be called."""
    return "<tool_call>" not in answer if expected is None else answer.strip() == expected


def greedy_answers(model: Any, tokenizer: Any, rows: Sequence[dict[str, Any]]) -> list[str]:
    import torch

    answers = []
    with torch.no_grad():
        for first in range(0, len(rows), 64):
            batch = tokenizer(
                [row["prompt"] for row in rows[first : first + 64]],
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=False,
                return_token_type_ids=False,
            )
            written = model.generate(**batch, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
            answers += written_texts(tokenizer, written[:, batch["input_ids"].shape[1] :])
    return answers


def written_texts(tokenizer: Any, tokens: Any) -> list[str]:
    """What stands before the end of the turn in each row."""
    texts = []
    for row in tokens.tolist():
        end = row.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in row else len(row)
        texts.append(tokenizer.decode(row[:end]))
    return texts


class Stopwatch:
    """Times training alone: not what comes before the first step, and not the evaluations in between.

    steps: to train.   every: steps between evaluations.
    """

    def __init__(self, *, steps: int, every: int) -> None:
        self.steps, self.every = steps, every
        self.seconds = 0.0
        self.held_out: list[tuple[int, float, float]] = []
        self._since = perf_counter()

    def start(self) -> None:
        self._since = perf_counter()

    def pause(self) -> None:
        self.seconds += perf_counter() - self._since

    def note(self, step: int, share_right: float) -> None:
        self.held_out.append((step, self.seconds, share_right))

    def result(self, rollouts: int) -> dict[str, Any]:
        reached = next((seconds for _, seconds, share in self.held_out if share >= GOAL), None)
        return {"rollouts": rollouts, "seconds": self.seconds, "seconds_to_095": reached, "held_out": self.held_out}
