"""Which batches the learner learns from: those that the policy it holds has sampled, and no others."""

from collections.abc import Iterable, Mapping, Sequence

from agentgym.errors import ContractBroken


def require_admissible_weights(sampled_by: Iterable[str], *, admissible: Sequence[str]) -> None:
    """Raises ContractBroken where a batch was sampled by other weights.

    sampled_by, admissible: digests of weights.   admissible: those the learner holds now come last, before them as many older ones as
    rollouts may be stale by.
    """
    strange = sorted(set(sampled_by) - set(admissible))
    if strange:
        bound = "the weights that learn from it" if len(admissible) == 1 else f"one of the last {len(admissible)} weights of the learner"
        raise ContractBroken(
            f"A batch must be sampled by {bound}, {_short(admissible)!r}; it was sampled by {_short(strange)!r}. "
            "Sync the weights before sampling."
        )


def require_same_identity(sampled_with: Iterable[Mapping[str, str]], own: Mapping[str, str]) -> None:
    """Raises ContractBroken, by name, where a batch was sampled with another tokenizer, chat template, base or knowledge."""
    for identity in sampled_with:
        for name in sorted(own.keys() | identity.keys()):
            if own.get(name) != identity.get(name):
                raise ContractBroken(
                    f"A batch must be sampled by the policy that learns from it; its {name.replace('_', ' ')} differs: the learner has "
                    f"{_named(own, name)}, what sampled it {_named(identity, name)}. Start every process from the same checkpoint."
                )


def _short(digests: Iterable[str]) -> list[str]:
    return [digest[:12] for digest in digests]


def _named(identity: Mapping[str, str], name: str) -> str:
    return repr(identity[name][:12]) if name in identity else "none"
