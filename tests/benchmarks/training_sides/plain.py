"""The plain side: the algorithm in one loop of PyTorch, `transformers` for sampling and `peft` for the adapter. Prints one JSON object."""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
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
    written_texts,
)
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--every", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    tokenizer = AutoTokenizer.from_pretrained(given.folder / "base")
    base = AutoModelForCausalLM.from_pretrained(given.folder / "base", dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"))
    optimizer = torch.optim.AdamW([values for values in model.parameters() if values.requires_grad], lr=LEARNING_RATE, weight_decay=0.0)
    train, held_out = read_rows(given.folder, "train"), read_rows(given.folder, "held_out")
    rng, watch = random.Random(given.seed), Stopwatch(steps=given.steps, every=given.every)
    for step in range(given.steps + 1):
        if step % given.every == 0:
            answers = greedy_answers(model, tokenizer, held_out)
            watch.note(step, sum(is_right(answer, row["expected"]) for answer, row in zip(answers, held_out, strict=True)) / len(held_out))
        if step == given.steps:
            break
        watch.start()
        learn(model, tokenizer, optimizer, rng.choices(train, k=GROUPS))
        watch.pause()
    print(json.dumps(watch.result(given.steps * GROUPS * GROUP_SIZE)))


def learn(model: Any, tokenizer: Any, optimizer: torch.optim.Optimizer, rows: list[dict[str, Any]]) -> None:
    """One update, over every rollout of every group."""
    batch = tokenizer(
        [row["prompt"] for row in rows for _ in range(GROUP_SIZE)],
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=False,
        return_token_type_ids=False,
    )
    width = batch["input_ids"].shape[1]
    with torch.no_grad():
        tokens = model.generate(**batch, max_new_tokens=MAX_NEW_TOKENS, do_sample=True, temperature=1.0, top_k=0)
    answers = written_texts(tokenizer, tokens[:, width:])
    rewards = torch.tensor(
        [
            float(is_right(answer, row["expected"]))
            for answer, row in zip(answers, [row for row in rows for _ in range(GROUP_SIZE)], strict=True)
        ]
    )
    advantages = (rewards.view(GROUPS, GROUP_SIZE) - rewards.view(GROUPS, GROUP_SIZE).mean(1, keepdim=True)).flatten()
    is_end = (tokens[:, width:] == tokenizer.eos_token_id).int()
    is_written = is_end.cumsum(1) - is_end == 0
    mask = torch.cat([batch["attention_mask"], is_written.long()], 1)
    scores = model(input_ids=tokens, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)).logits[:, width - 1 : -1]
    logs = torch.log_softmax(scores.float(), -1).gather(2, tokens[:, width:, None])[..., 0]
    ratio = (logs - logs.detach()).exp()
    clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
    losses = -torch.minimum(ratio * advantages[:, None], clipped * advantages[:, None])
    loss = ((losses * is_written).sum(1) / is_written.sum(1)).mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
    optimizer.step()


if __name__ == "__main__":
    main()
