"""Base models: loaded from a folder or a hub, or made small from nothing."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import orjson
import torch
from pydantic import JsonValue
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from agentgym.errors import InvalidInput, Unavailable
from agentgym.policies.causal_lm.chat_format import TAGS
from agentgym.policies.causal_lm.config import CausalLMConfig

TINY_VOCABULARY: Final = 2048
_END, _PADDING = "<|end|>", "<|padding|>"
_ROLES = ("system", "user", "assistant")
_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}" + _END + "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_DESCRIBING = ("*.safetensors", "config.json", "tokenizer*", "vocab*", "merges.txt", "*.model", "chat_template*", "*.index.json")


def load_base(config: CausalLMConfig, *, device: str = "cpu") -> tuple[Any, Any]:
    """The base model and its tokenizer.

    Raises InvalidInput for a folder that holds no model, or another one than `config.base_digest` says; Unavailable when a hub cannot be
    reached. Weights are read from safetensors only: other files can run code.
    """
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # An adapter goes with the very commit of a hub's model; code that comes with a model is never run.
        asked = {"revision": config.base_digest if config.base_digest and not Path(config.base).is_dir() else "main"}
        tokenizer = AutoTokenizer.from_pretrained(config.base, trust_remote_code=False, **asked)
        lm = AutoModelForCausalLM.from_pretrained(
            config.base, dtype=getattr(torch, config.precision), use_safetensors=True, trust_remote_code=False, **asked
        )
    except (OSError, ValueError, KeyError) as error:
        raise _not_loaded(config.base, error) from error
    return cast(Any, lm).to(device), tokenizer


def base_digest(base: str, lm: Any) -> str:
    """SHA-256 over the files of a folder; for a model of a hub the commit it is from."""
    folder = Path(base)
    if not folder.is_dir():
        commit = getattr(lm.config, "_commit_hash", None)
        if commit is None:
            raise InvalidInput(f"A base model from a hub must say which commit it is from; {base!r} does not. Download it into a folder.")
        return str(commit)
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _DESCRIBING for path in folder.glob(pattern)}):
        digest.update(path.name.encode())
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def make_tiny(texts: Iterable[str], *, seed: int) -> tuple[Any, Any]:
    """A small Llama-shaped model with random weights, and a tokenizer learned from these texts.

    Byte-pair encoding over bytes, so that any text can be written; digits stand alone, as identifiers are copied digit by digit.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    specials = [_PADDING, _END, *(f"<|{role}|>" for role in _ROLES), *TAGS]
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_VOCABULARY,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = read_tokenizer(_with_tags_as_words(tokenizer.to_str()), _TEMPLATE)
    return _tiny_model(_tiny_shape(len(fast)), seed), fast


def _with_tags_as_words(backend: str) -> str:
    """The tags of calls are part of what is said: who decodes without special tokens still sees them."""
    written = orjson.loads(backend)
    for token in written["added_tokens"]:
        token["special"] = token["content"] not in TAGS
    return orjson.dumps(written).decode()


def read_tokenizer(backend: str, chat_template: str) -> Any:
    """A tokenizer as `tokenizer_json` wrote it."""
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(backend), pad_token=_PADDING, eos_token=_END
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def tiny_knowledge(lm: Any, tokenizer: Any) -> dict[str, JsonValue]:
    """What it takes, besides weights, to have a tiny model again."""
    return {
        "shape": orjson.loads(lm.config.to_json_string(use_diff=True)),
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "chat_template": tokenizer.chat_template,
    }


def tiny_from(knowledge: Mapping[str, Any]) -> tuple[Any, Any]:
    """The model, with weights still to be set, and its tokenizer."""
    return _tiny_model(knowledge["shape"], seed=0), read_tokenizer(knowledge["tokenizer"], knowledge["chat_template"])


def _tiny_shape(vocabulary: int) -> dict[str, Any]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
    }


def _tiny_model(shape: Mapping[str, Any], seed: int) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**shape))


def _not_loaded(base: str, error: Exception) -> InvalidInput | Unavailable:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if Path(base).exists():
        return InvalidInput(
            f"A base model is a folder with config.json, a tokenizer and safetensors; {base!r} is not: {reason}. "
            "Save it with save_pretrained, model and tokenizer."
        )
    if base.startswith((".", "/", "~")) or base.count("/") > 1:
        return InvalidInput(f"A base model is a folder or a hub id; there is nothing at {base!r}. Check the path.")
    return Unavailable(
        f"The base model {base!r} must be in a folder or on a hub in reach; loading it gave: {reason}. "
        "Set AGENTGYM_MODEL_DOWNLOADS=true where it may be downloaded, or give a folder."
    )
