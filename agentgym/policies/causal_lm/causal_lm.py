"""The language model as a policy."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from safetensors.torch import load, save

from agentgym.episode import Action, Conversation, Decision
from agentgym.errors import ContractBroken, InvalidInput
from agentgym.messages import Message, ToolCall
from agentgym.policies.causal_lm.base_models import base_digest, load_base, tiny_from, tiny_knowledge
from agentgym.policies.causal_lm.chat_format import ChatFormat
from agentgym.policies.causal_lm.config import TINY, CausalLMConfig
from agentgym.policies.causal_lm.grammar import Cursor, Node, Tokens
from agentgym.policies.causal_lm.network import CausalLMNetwork, decided, tensors
from agentgym.policies.causal_lm.offers import Offers
from agentgym.policies.causal_lm.rows import TokenChoice, Written, collated
from agentgym.policies.causal_lm.sampler import Sampler, shared_copy
from agentgym.policies.checkpoint import Checkpoint, Manifest, as_json
from agentgym.policies.planner.memory import Memory
from agentgym.policies.planner.planner import Knowledge
from agentgym.policies.planner.state import State
from agentgym.policies.replies import Replies, TemplateReplies
from agentgym.tools import Tool


class CausalLM:
    """A trainable policy that writes: a call as JSON between tags, or words, token by token.

    lm, tokenizer: the base; the model is changed in place.   knowledge: what values are found with, as the
    planner finds them.   prompt: the system prompt.
    """

    def __init__(
        self,
        lm: Any,
        tokenizer: Any,
        knowledge: Knowledge,
        config: CausalLMConfig,
        *,
        replies: Replies | None = None,
        prompt: str | None = None,
    ) -> None:
        self.config, self.knowledge, self._system_prompt = config, knowledge, prompt
        self._format = ChatFormat(tokenizer, name=config.base, shows_tools=config.shows_tools, system_prompt=prompt)
        self._offers = Offers(
            self._format, replies or TemplateReplies(), offers_candidates=config.offers_candidates, max_words=config.max_words
        )
        self._memory = Memory(knowledge.gazetteer, knowledge.vocabulary)
        plain = shared_copy(lm)
        self._network = CausalLMNetwork(lm, config)
        self._sampler = Sampler(plain, self._network)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, replies: Replies | None = None, device: str = "cpu") -> Self:
        """The policy that a checkpoint holds. Raises InvalidInput when its base is not the one it was trained on."""
        config = CausalLMConfig.model_validate(checkpoint.manifest.configuration)
        known = as_json(checkpoint.knowledge)
        lm, tokenizer = tiny_from(known["tiny"]) if config.base == TINY else _base_of(config, device)
        knowledge = Knowledge.from_json(known["values"])
        policy = cls(lm.to(device), tokenizer, knowledge, config, replies=replies, prompt=checkpoint.manifest.system_prompt)
        policy.network.read(load(checkpoint.weights))
        return policy

    def to_checkpoint(
        self, *, tools: Sequence[Tool] = (), training: Mapping[str, JsonValue] | None = None, lineage: Mapping[str, str] | None = None
    ) -> Checkpoint:
        """The policy as it is now.   tools: it was trained with.   training, lineage: see `Manifest`."""
        manifest = Manifest(
            policy=self.config.kind,
            configuration=self.config.model_dump(mode="json"),
            tools=tuple(tools),
            system_prompt=self._system_prompt,
            training=dict(training or {}),
            lineage=dict(lineage or {}),
        )
        knowledge = {"values": self.knowledge.to_json()}
        if self.config.base == TINY:
            knowledge["tiny"] = tiny_knowledge(self._network.lm, self._format.tokenizer)
        return Checkpoint(manifest=manifest, weights=self.weights_bytes(), knowledge=orjson.dumps(knowledge))

    def export(self, folder: Path) -> None:
        """The model with its adapter merged, and its tokenizer, as a folder that `transformers` and what builds on it can load."""
        self._sampler.merged().save_pretrained(folder)
        self._format.tokenizer.save_pretrained(folder)

    def weights_bytes(self) -> bytes:
        """The adapter, and a base that AgentGym made; any other base stays where it is."""
        kept = self._network.adapter_tensors() | (self._network.base_tensors() if self.config.base == TINY else {})
        return save({name: values.detach().cpu().contiguous() for name, values in kept.items()})

    @property
    def network(self) -> CausalLMNetwork:
        return self._network

    @cached_property
    def identity(self) -> Mapping[str, str]:
        return {**self._format.digests, "base": self.config.base_digest or self._base_weights, "knowledge": self.knowledge.digest}

    @property
    def _base_weights(self) -> str:
        digest = hashlib.sha256()
        for name, values in sorted(self._network.base_tensors().items()):
            digest.update(name.encode())
            digest.update(values.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def turn_end(self) -> int:
        """The token that ends what the assistant says."""
        return self._format.turn_end

    def act(self, conversation: Conversation) -> Action:
        return self.act_batch([conversation], rng=None)[0]

    def act_batch(self, conversations: Sequence[Conversation], *, rng: np.random.Generator | None) -> list[Action]:
        """One action for each conversation; equal prompts are computed once."""
        states = [self._memory.state_of(conversation) for conversation in conversations]
        prompts = [self._prompt(conversation, state) for conversation, state in zip(conversations, states, strict=True)]
        cursors = [Cursor(self._root(conversation, state)) for conversation, state in zip(conversations, states, strict=True)]
        log_probabilities = self._sampler.write(prompts, cursors, rng)
        return list(map(self._action, conversations, prompts, cursors, log_probabilities))

    def recall(self, conversation: Conversation, message: Message, *, next_call: ToolCall | None) -> Action | None:
        """See `TrainablePolicy`."""
        cursor = self.written(conversation, message, next_call=next_call)
        if cursor is None:
            return None
        prompt = self.prompt_of(conversation)
        written = Written(prompt, tuple(cursor.tokens))
        evidence = [TokenChoice(written, choice) for choice in cursor.choices]
        with torch.no_grad():
            batch = tensors(self.collated(evidence))
            log_probabilities = decided(self._network.lm, batch)["log_probability"].tolist() if evidence else []
        return self._action(conversation, prompt, cursor, log_probabilities)

    def written(self, conversation: Conversation, message: Message, *, next_call: ToolCall | None) -> Cursor | None:
        """The response that says this message; None where the grammar has none."""
        state = self._memory.state_of(conversation)
        tokens = self._offers.written(conversation, state, message, next_call)
        cursor = Cursor(self._root(conversation, state))
        return cursor if tokens is not None and cursor.follow(tokens) else None

    def prompt_of(self, conversation: Conversation) -> Tokens:
        """The conversation as the model reads it."""
        return self._prompt(conversation, self._memory.state_of(conversation))

    def prompt_text(self, conversation: Conversation) -> str:
        """The same as text, special tokens written out."""
        return self._format.prompt_text(conversation.messages, conversation.tools)

    def collate(self, decisions: Sequence[Decision]) -> Mapping[str, NDArray[Any]]:
        return self.collated([_evidence(decision) for decision in decisions])

    def collated(self, choices: Sequence[TokenChoice]) -> dict[str, NDArray[Any]]:
        """Flat arrays of the decided tokens; see `rows.collated`."""
        return collated(choices, vocabulary=self._vocabulary, reach=self._reach)

    def _action(self, conversation: Conversation, prompt: Tokens, cursor: Cursor, log_probabilities: Sequence[float]) -> Action:
        written = Written(prompt, tuple(cursor.tokens))
        decisions = [
            Decision(
                name=choice.name,
                choice=str(choice.allowed.ids[choice.chosen]),
                log_probability=log_probability,
                evidence=TokenChoice(written, choice),
            )
            for choice, log_probability in zip(cursor.choices, log_probabilities, strict=True)
        ]
        return Action(message=self._offers.message(cursor.text, conversation), decisions=tuple(decisions))

    def _prompt(self, conversation: Conversation, state: State) -> Tokens:
        known = state.memo.get("prompt")
        if known is None:
            known = self._format.prompt(conversation.messages, conversation.tools)
            self._require_room(known)
            state.memo["prompt"] = known
        return known  # type: ignore[return-value]

    def _root(self, conversation: Conversation, state: State) -> Node:
        known = state.memo.get("root")
        if known is None:
            known = state.memo["root"] = self._offers.root(conversation, state)
        return known  # type: ignore[return-value]

    def _require_room(self, prompt: Tokens) -> None:
        room = self._network.lm.config.get_text_config().max_position_embeddings
        if len(prompt) + self.config.max_words > room:
            raise InvalidInput(
                f"A conversation must fit the model's context of {room} tokens, with {self.config.max_words} left for the answer; this one "
                f"has {len(prompt)}. Shorten the conversation or its results, or use a base with a longer context."
            )

    @cached_property
    def _vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self._network.lm.get_output_embeddings().weight.shape[0])

    @cached_property
    def _reach(self) -> int:
        return self._network.reach


def _base_of(config: CausalLMConfig, device: str) -> tuple[Any, Any]:
    lm, tokenizer = load_base(config, device=device)
    found = base_digest(config.base, lm)
    if found != config.base_digest:
        raise InvalidInput(
            f"An adapter belongs to the base it was trained on; {config.base!r} is now {found[:12]}, and was "
            f"{(config.base_digest or 'unknown')[:12]}. Put the former files back, or train anew."
        )
    return lm, tokenizer


def _evidence(decision: Decision) -> TokenChoice:
    if not isinstance(decision.evidence, TokenChoice):
        raise ContractBroken(
            f"A language model can only learn from tokens it decided; {decision.name!r} carries {type(decision.evidence).__name__}. "
            "Sample with the policy that is trained."
        )
    return decision.evidence
