"""Any causal language model of transformers as a base: small ones with random weights, saved as their makers save theirs."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from agentgym.episode import Conversation
from agentgym.errors import InvalidInput, Unavailable
from agentgym.messages import ToolCall, assistant, system, tool_result, user
from agentgym.policies.causal_lm.base_models import base_digest, load_base, make_tiny
from agentgym.policies.causal_lm.causal_lm import CausalLM
from agentgym.policies.causal_lm.config import CausalLMConfig
from agentgym.policies.causal_lm.network import tensors
from agentgym.policies.planner.gazetteer import learn_gazetteer
from agentgym.policies.planner.planner import Knowledge
from agentgym.policies.planner.word_weights import learn_word_weights
from agentgym.tools import Tool

MARKED = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
CHATML = MARKED + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
HEADERS = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
TURNS = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
BASES = {
    "qwen2": (CHATML, ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]),
    "llama": (HEADERS, ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
    "gemma3_text": (TURNS, ["<start_of_turn>", "<end_of_turn>"]),
}
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
}
TOOL = Tool(name="find", parameters={"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]})
CALL = ToolCall(id="call_0", name="find", arguments={"id": "A-17"})
SAID = (system("Be brief."), user("Where is A-17?"), assistant("", CALL), tool_result(CALL, {"status": "late"}), user("And B-2?"))
CONVERSATION = Conversation(conversation_id="one", messages=SAID, tools=(TOOL,), now=datetime(2026, 1, 1, tzinfo=UTC))


def save_base(kind: str, folder: Path, *, template: str | None = None) -> Path:
    chat_template, specials = BASES[kind]
    backend = make_tiny(["Where is it? late status find"], seed=0)[1].backend_tokenizer
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", additional_special_tokens=specials)
    tokenizer.chat_template = chat_template if template is None else template
    tokenizer.save_pretrained(folder)
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **SMALL)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder, max_shard_size="20KB")
    return folder


def policy_on(folder: Path, **settings: object) -> CausalLM:
    config = CausalLMConfig.model_validate({"base": str(folder), "shows_tools": True, "rank": 4, "alpha": 8, **settings})
    lm, tokenizer = load_base(config)
    config = config.model_copy(update={"base_digest": base_digest(config.base, lm)})
    return CausalLM(lm, tokenizer, Knowledge(learn_gazetteer([]), learn_word_weights([["order"]])), config)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", BASES)
def test_a_base_in_shards_samples_what_it_learns(kind: str, precision: str, tmp_path: Path):
    policy = policy_on(save_base(kind, tmp_path), offers_candidates=False, max_words=6, precision=precision)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    actions = policy.act_batch([CONVERSATION] * 4, rng=np.random.default_rng(0))
    decisions = [decision for action in actions for decision in action.decisions]
    learned = policy.network(tensors(policy.collate(decisions)))["log_probability"].tolist()
    tolerance = 2e-5 if precision == "float32" else 0.05
    assert learned == pytest.approx([decision.log_probability for decision in decisions], abs=tolerance)


@pytest.mark.parametrize("kind", BASES)
def test_a_conversation_keeps_its_tokens_as_it_grows(kind: str, tmp_path: Path):
    policy = policy_on(save_base(kind, tmp_path))
    spoken = policy.recall(CONVERSATION, assistant("", CALL), next_call=None)
    assert spoken is not None
    (written, *_) = [decision.evidence.written for decision in spoken.decisions]
    grown = Conversation(
        conversation_id="one", messages=(*SAID, spoken.message, tool_result(CALL, {"status": "lost"})), tools=(TOOL,), now=CONVERSATION.now
    )
    assert policy.prompt_of(grown)[: len(written.tokens)] == written.tokens


def test_an_adapter_does_not_hold_its_base_and_knows_it_again(tmp_path: Path):
    folder = save_base("qwen2", tmp_path)
    checkpoint = policy_on(folder).to_checkpoint()
    assert CausalLM.from_checkpoint(checkpoint).weights_bytes() == checkpoint.weights
    assert b"base." not in checkpoint.weights
    config = folder / "config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(InvalidInput, match="An adapter belongs to the base it was trained on"):
        CausalLM.from_checkpoint(checkpoint)


def test_the_tags_of_calls_survive_whoever_reads_without_special_tokens():
    tokenizer = make_tiny(["Where is it?"], seed=0)[1]
    written = "<tool_call>where</tool_call>"
    assert tokenizer.decode([*tokenizer.encode(written), tokenizer.eos_token_id], skip_special_tokens=True) == written


def test_a_folder_that_says_to_cut_what_is_encoded_is_read_whole(tmp_path: Path):
    folder = save_base("qwen2", tmp_path)
    written = (folder / "tokenizer.json").read_text()
    cutting = '"truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}'
    (folder / "tokenizer.json").write_text(written.replace('"truncation": null', cutting))
    policy = policy_on(folder)
    before = dict(policy.identity)
    assert len(policy.prompt_of(CONVERSATION)) > 4
    assert policy_on(folder).identity == before


@pytest.mark.parametrize("checkpoints_gradients", [True, False])
def test_checkpointed_gradients_are_computed_twice_and_equal(checkpoints_gradients: bool, tmp_path: Path):
    policy = policy_on(save_base("qwen2", tmp_path), checkpoints_gradients=checkpoints_gradients)
    layers: list[int] = []
    policy.network.lm.get_decoder().layers[0].self_attn.register_forward_hook(lambda *_: layers.append(1))
    (action,) = policy.act_batch([CONVERSATION], rng=np.random.default_rng(0))
    logs = policy.network(tensors(policy.collate(action.decisions)))["log_probability"]
    assert logs.tolist() == pytest.approx([decision.log_probability for decision in action.decisions], abs=2e-5)
    torch.autograd.backward(logs.sum())
    assert len(layers) == (2 if checkpoints_gradients else 1)


def test_a_base_without_a_chat_template_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="A base model needs a chat template"):
        policy_on(save_base("llama", tmp_path, template=""))


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"A base model is a folder with config\.json, a tokenizer and safetensors"):
        load_base(CausalLMConfig(base=str(tmp_path)))


def test_a_path_that_leads_nowhere_is_refused():
    with pytest.raises(InvalidInput, match=r"there is nothing at '\./no/such/model'"):
        load_base(CausalLMConfig(base="./no/such/model"))


def test_a_hub_out_of_reach_is_tried_again_later():
    with pytest.raises(Unavailable, match="'somebody/some-model' must be in a folder or on a hub in reach"):
        load_base(CausalLMConfig(base="somebody/some-model"))
