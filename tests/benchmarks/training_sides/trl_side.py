"""TRL's side: its GRPOTrainer, in a virtual environment of its own. Prints one JSON object as its last line."""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from task import (
    ALPHA,
    CLIP_HIGH,
    CLIP_LOW,
    GRADIENT_NORM,
    GROUP_SIZE,
    GROUPS,
    LEARNING_RATE,
    MAX_NEW_TOKENS,
    RANK,
    Stopwatch,
    greedy_answers,
    is_right,
    read_rows,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--every", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(given.folder / "base")
    model = AutoModelForCausalLM.from_pretrained(given.folder / "base", dtype=torch.float32)
    watch = Stopwatch(steps=given.steps, every=given.every)
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=reward,
        train_dataset=Dataset.from_list(read_rows(given.folder, "train")),
        peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Evaluating(watch, tokenizer, read_rows(given.folder, "held_out"))],
        args=GRPOConfig(
            output_dir=str(given.folder / f"trl-{given.seed}"),
            seed=given.seed,
            use_cpu=True,
            bf16=False,
            max_steps=given.steps,
            per_device_train_batch_size=GROUPS * GROUP_SIZE,
            num_generations=GROUP_SIZE,
            max_completion_length=MAX_NEW_TOKENS,
            temperature=1.0,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=GRADIENT_NORM,
            beta=0.0,
            epsilon=CLIP_LOW,
            epsilon_high=CLIP_HIGH,
            scale_rewards="none",
            loss_type="grpo",
            gradient_checkpointing=False,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
    )
    trainer.train()
    print(json.dumps(watch.result(given.steps * GROUPS * GROUP_SIZE)))


def reward(completions: list[str], expected: list[str | None], **_: Any) -> list[float]:
    return [float(is_right(answer, right)) for answer, right in zip(completions, expected, strict=True)]


class Evaluating(TrainerCallback):  # type: ignore[misc]
    """Keeps the clock, and evaluates while it stands."""

    def __init__(self, watch: Stopwatch, tokenizer: Any, rows: list[dict[str, Any]]) -> None:
        self.watch, self.tokenizer, self.rows = watch, tokenizer, rows

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        self._evaluate(0, model)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self.watch.start()

    def on_step_end(self, args: Any, state: Any, control: Any, *, model: Any, **_: Any) -> None:
        if state.global_step % self.watch.every == 0 or state.global_step == self.watch.steps:
            self.watch.pause()
            self._evaluate(state.global_step, model)
            self.watch.start()

    def _evaluate(self, step: int, model: Any) -> None:
        was_training = model.training
        answers = greedy_answers(model.eval(), self.tokenizer, self.rows)
        model.train(was_training)
        right = sum(is_right(answer, row["expected"]) for answer, row in zip(answers, self.rows, strict=True))
        self.watch.note(step, right / len(self.rows))


if __name__ == "__main__":
    main()
