"""How fast the training engine learns beside TRL's GRPOTrainer and beside a plain loop, on one task with one model. Prints one JSON object.

The model is `tiny`, imitated from the `lookup` world's own conversations; the task is its first answer, so that every side plays the same
rollouts: 16 questions, 8 answers each, one update. Sides run one after another, round by round; figures are medians over rounds, and a
side that does not reach .95 within its steps counts as the time it ran.
`--rounds`, `--steps` make it shorter.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from agentgym.policies.causal_lm.base_models import base_digest, load_base
from agentgym.policies.causal_lm.causal_lm import CausalLM
from agentgym.policies.causal_lm.chat_format import call_text
from agentgym.policies.causal_lm.config import CausalLMConfig
from agentgym.scenarios.production_log import write_logs
from agentgym.scenarios.registry import load_world
from agentgym.training.language_imitation import LanguageImitationConfig, imitate_in_language

SIDES = Path(__file__).parent / "training_sides"
ROOT = Path(__file__).parents[2]
TRL = "1.16.0"
CONVERSATIONS, TRAIN_ROWS, HELD_OUT_ROWS = 6000, 2000, 256


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--every", type=int, default=2)
    given = parser.parse_args()
    trl = trl_python()
    with TemporaryDirectory() as folder:
        prepare(Path(folder))
        ours = [sys.executable, str(SIDES / "ours.py"), folder]
        sides = {
            "ours_like_for_like": [*ours, "--like-for-like"],
            "trl": [str(trl), str(SIDES / "trl_side.py"), folder],
            "plain_loop": [sys.executable, str(SIDES / "plain.py"), folder],
            "ours": ours,
        }
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for seed in range(given.rounds):
            for name, command in sides.items():
                runs[name].append(run(command, seed=seed, steps=given.steps, every=given.every))
                print(f"round {seed + 1}, {name}: {runs[name][-1]}", file=sys.stderr)
    figures = {name: figures_of(of_side) for name, of_side in runs.items()}
    ratios = {
        "vs_trl_like_for_like": figures["ours_like_for_like"]["rollouts_per_second"] / figures["trl"]["rollouts_per_second"],
        "vs_plain_loop": figures["ours_like_for_like"]["rollouts_per_second"] / figures["plain_loop"]["rollouts_per_second"],
    }
    # Without our own arrival there is nothing to be faster at.
    if figures["ours"]["reached_095"] > given.rounds / 2:
        ratios["vs_trl_time_to_095"] = figures["trl"]["seconds_to_095"] / figures["ours"]["seconds_to_095"]
        ratios["vs_plain_loop_time_to_095"] = figures["plain_loop"]["seconds_to_095"] / figures["ours"]["seconds_to_095"]
    machine = {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    print(json.dumps({"ratios": ratios, "figures": figures | {"trl_version": TRL}, "machine": machine}, indent=2))


def trl_python() -> Path:
    """The Python of an environment with TRL in it, made when it is first needed: its pins and ours need not agree."""
    python = ROOT / "build" / "trl" / "bin" / "python"
    if not python.exists():
        venv.create(ROOT / "build" / "trl", with_pip=True)
    pins = [
        line for line in (ROOT / "requirements.lock").read_text().splitlines() if line.startswith(("torch==", "transformers==", "peft=="))
    ]
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"trl=={TRL}", *pins], check=True, stdout=sys.stderr)
    return python


def prepare(folder: Path) -> None:
    """Base model, checkpoints of ours on it, and the rows that every side plays."""
    world = load_world("lookup")
    traces = list(write_logs(world, world.legacy_agent(), CONVERSATIONS, 0))
    free = CausalLMConfig(offers_candidates=False, max_words=40)
    config = LanguageImitationConfig(causal_lm=free, language_weight=0.3, epochs=8, batch_size=32)
    tiny = imitate_in_language(traces, tools=world.tools, seed=0, config=config)
    base = folder / "base"
    tiny.export(base)
    (folder / "tools.json").write_text(json.dumps([tool.model_dump(mode="json") for tool in world.tools]))
    for name, offers_candidates in {"free": False, "candidates": True}.items():
        lm, tokenizer = load_base(CausalLMConfig(base=str(base)))
        asked = free.model_copy(
            update={"base": str(base), "base_digest": base_digest(str(base), lm), "offers_candidates": offers_candidates}
        )
        (folder / f"{name}.zip").write_bytes(CausalLM(lm, tokenizer, tiny.knowledge, asked).to_checkpoint(tools=world.tools).to_bytes())
    for part, count, seed in (("train", TRAIN_ROWS, 1), ("held_out", HELD_OUT_ROWS, 2)):
        rows = [row_of(world, case, tiny) for case in world.generate_cases(count, seed=seed, customers=count)]
        (folder / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def row_of(world: Any, case: Any, policy: CausalLM) -> dict[str, Any]:
    conversation, _ = world.create_environment().reset(seed=0, options={"case": case})
    expected = case.expected_calls[0] if case.expected_calls else None
    return {
        "case": case.model_dump(mode="json"),
        "messages": [message.model_dump(mode="json") for message in conversation.messages],
        "prompt": policy.prompt_text(conversation),
        "expected": None if expected is None else call_text(expected.name, expected.arguments),
    }


def run(command: Sequence[str], *, seed: int, steps: int, every: int) -> dict[str, Any]:
    """What a side measured; it runs with one thread, so that the sides get the same."""
    quiet = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    asked = [*command, "--seed", str(seed), "--steps", str(steps), "--every", str(every)]
    done = subprocess.run(asked, env={**os.environ, **quiet}, stdout=subprocess.PIPE, check=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def seconds_to_goal(measured: dict[str, Any]) -> float:
    """All the time there was, where the goal was not reached: a lower bound."""
    reached: float | None = measured["seconds_to_095"]
    return float(measured["seconds"]) if reached is None else reached


def figures_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "rollouts_per_second": round(median(measured["rollouts"] / measured["seconds"] for measured in runs), 1),
        "seconds_to_095": round(median(seconds_to_goal(measured) for measured in runs), 2),
        "reached_095": sum(measured["seconds_to_095"] is not None for measured in runs),
        "first_share_right": median(measured["held_out"][0][2] for measured in runs),
        "last_share_right": median(measured["held_out"][-1][2] for measured in runs),
        "runs": len(runs),
    }


if __name__ == "__main__":
    main()
