import torch

from agentgym.training.flow_grpo.weights import read_weights, weights_digest, write_weights


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    layers[0].requires_grad_(False)
    return layers


def test_only_parameters_that_learn_are_read():
    assert set(read_weights(network(0))) == {"1.weight", "1.bias"}


def test_written_weights_give_the_digest_of_the_network_they_were_read_from():
    source, target = network(0), network(1)
    assert weights_digest(source) != weights_digest(target)
    write_weights(target, read_weights(source))
    assert weights_digest(source) == weights_digest(target)


def test_writing_changes_parameters_in_place_for_whoever_holds_them():
    target = network(1)
    held = target[1].weight
    write_weights(target, read_weights(network(0)))
    assert held is target[1].weight
    assert torch.equal(held, network(0)[1].weight)


def test_reading_copies_so_that_later_learning_does_not_change_what_was_read():
    source = network(0)
    read = read_weights(source)
    with torch.no_grad():
        source[1].bias.add_(1.0)
    assert not torch.equal(torch.as_tensor(read["1.bias"]), source[1].bias)
