import pytest
import torch

from agentgym.devices import choose_device
from agentgym.errors import InvalidInput


def test_what_is_chosen_for_us_computes() -> None:
    assert torch.ones(2, device=choose_device("auto")).sum().item() == 2


def test_the_processor_is_always_here() -> None:
    assert choose_device("cpu") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that must be missing")
def test_a_device_that_is_not_here_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidInput, match=r"finds .*cpu, and 'cuda' was asked for"):
        choose_device("cuda")


def test_a_device_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"A device is one of .* got 'tpu'"):
        choose_device("tpu")
