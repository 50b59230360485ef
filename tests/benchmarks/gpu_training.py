"""What a round of on-policy learning costs with large language models on a GPU: sampling, then one update. Prints one JSON object.

The models are Qwen-shaped with random weights, in bf16 with LoRA; advantages are random too, as nothing can be learned here.

Of each size: rollouts and tokens a second, the most memory taken, and how far the sampler's log-probabilities are from the learner's.
Without a GPU it says that it was not run.
"""

import json
import os
import platform
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

from agentgym.policies.causal_lm.base_models import base_digest, load_base, make_tiny
from agentgym.policies.causal_lm.causal_lm import CausalLM
from agentgym.policies.causal_lm.config import CausalLMConfig
from agentgym.policies.causal_lm.network import tensors
from agentgym.policies.planner.gazetteer import learn_gazetteer
from agentgym.policies.planner.planner import Knowledge
from agentgym.policies.planner.word_weights import learn_word_weights
from agentgym.scenarios.registry import load_world

SHAPES = {
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2},
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2},
}
VOCABULARY, CASES, GROUP_SIZE, ROUNDS = 151_936, 16, 8, 5
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def main() -> None:
    machine: dict[str, Any] = {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    if not torch.cuda.is_available():
        print(json.dumps({"ratios": {}, "figures": {"not_run": "no CUDA device is here"}, "machine": machine}, indent=2))
        return
    machine["gpu"] = torch.cuda.get_device_name()
    with TemporaryDirectory() as folder:
        figures = {name: measured(Path(folder) / name, shape) for name, shape in SHAPES.items()}
    print(json.dumps({"ratios": {}, "figures": figures, "machine": machine}, indent=2))


def measured(folder: Path, shape: dict[str, int]) -> dict[str, Any]:
    """First answers of one world, sampled in groups and learned from: the medians of some rounds after a first one."""
    policy = policy_on(folder, shape)
    world = load_world("customer_support")
    conversations = [
        conversation
        for case in world.generate_cases(CASES, seed=0)
        for conversation in [world.create_environment().reset(seed=0, options={"case": case})[0]] * GROUP_SIZE
    ]
    torch.cuda.reset_peak_memory_stats()
    optimizer = torch.optim.Adam(policy.network.adapter_tensors().values(), lr=1e-4)
    rounds = [one_round(policy, optimizer, conversations, seed) for seed in range(ROUNDS + 1)][1:]
    return {name: float(np.median([one[name] for one in rounds])) for name in rounds[0]} | {
        "peak_memory_bytes": torch.cuda.max_memory_allocated()
    }


def one_round(policy: CausalLM, optimizer: torch.optim.Optimizer, conversations: list[Any], seed: int) -> dict[str, float]:
    began = perf_counter()
    actions = policy.act_batch(conversations, rng=np.random.default_rng(seed))
    torch.cuda.synchronize()
    sampled = perf_counter()
    decisions = [decision for action in actions for decision in action.decisions]
    batch = policy.collate(decisions)
    logs = policy.network(tensors(batch))["log_probability"]
    advantages = torch.from_numpy(np.random.default_rng(seed).standard_normal(len(decisions), dtype=np.float32)).to(logs.device)
    torch.autograd.backward(-(advantages * logs).mean())
    optimizer.step()
    optimizer.zero_grad()
    torch.cuda.synchronize()
    seconds = perf_counter() - began
    difference = np.abs(logs.detach().float().cpu().numpy() - [decision.log_probability for decision in decisions])
    return {
        "rollouts_per_second": len(conversations) / seconds,
        "read_tokens_per_second": float(batch["tree_lengths"].sum()) / seconds,
        "written_tokens_per_second": sum(len(written.response) for written in written_in(actions)) / seconds,
        "sampling_share": (sampled - began) / seconds,
        "mean_log_probability_difference": float(difference.mean()),
        "max_log_probability_difference": float(difference.max()),
    }


def written_in(actions: list[Any]) -> list[Any]:
    return [action.decisions[0].evidence.written for action in actions if action.decisions]


def policy_on(folder: Path, shape: dict[str, int]) -> CausalLM:
    backend = make_tiny(["Where is it? late status find"], seed=0)[1].backend_tokenizer
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, eos_token="<|end|>", additional_special_tokens=["<|im_start|>", "<|im_end|>"]
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    lm = AutoModelForCausalLM.from_config(Qwen2Config(vocab_size=VOCABULARY, tie_word_embeddings=True, **shape), dtype=torch.bfloat16)
    lm.save_pretrained(folder)
    config = CausalLMConfig(base=str(folder), precision="bfloat16", shows_tools=True)
    loaded, tokenizer = load_base(config, device="cuda")
    config = config.model_copy(update={"base_digest": base_digest(str(folder), loaded)})
    return CausalLM(loaded, tokenizer, Knowledge(learn_gazetteer([]), learn_word_weights([["order"]])), config)


if __name__ == "__main__":
    main()
