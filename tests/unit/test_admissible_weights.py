import pytest

from agentgym.errors import ContractBroken
from agentgym.training.flow_grpo.admission import require_admissible_weights, require_same_identity

OWN = {"base": "b" * 64, "tokenizer": "t" * 64, "chat_template": "c" * 64}


def test_the_newest_weights_and_those_within_the_bound_are_admissible() -> None:
    require_admissible_weights({"new"}, admissible=["new"])
    require_admissible_weights({"old", "new"}, admissible=["old", "new"])


def test_weights_beyond_the_bound_are_named() -> None:
    with pytest.raises(ContractBroken, match=r"one of the last 2 weights of the learner, \['old', 'new'\]; it was sampled by \['older'\]"):
        require_admissible_weights({"older", "new"}, admissible=["old", "new"])


def test_the_same_identity_passes() -> None:
    require_same_identity([dict(OWN), dict(OWN)], OWN)


@pytest.mark.parametrize("name", ["base", "tokenizer", "chat_template"])
def test_what_differs_is_named(name: str) -> None:
    with pytest.raises(
        ContractBroken, match=f"its {name.replace('_', ' ')} differs: the learner has '{name[0] * 12}', what sampled it 'x'"
    ):
        require_same_identity([OWN, {**OWN, name: "x"}], OWN)


def test_what_only_one_side_rests_on_is_named() -> None:
    with pytest.raises(ContractBroken, match="its knowledge differs: the learner has none, what sampled it 'k'"):
        require_same_identity([{**OWN, "knowledge": "k"}], OWN)
