"""Where networks are computed."""

from typing import Final, Literal

import torch

from agentgym.errors import InvalidInput

Device = Literal["cpu", "cuda", "mps"]
AUTO: Final = "auto"
DEVICES: Final[tuple[Device, ...]] = ("cuda", "mps", "cpu")


def choose_device(asked: str = AUTO) -> Device:
    """The device asked for; for "auto" a GPU where this machine has one that torch can use, else the processor.

    Raises InvalidInput for one that is not here, or not known.
    """
    here = [device for device in DEVICES if _is_here(device)]
    if asked == AUTO:
        return here[0]
    if asked not in DEVICES:
        raise InvalidInput(f"A device is one of {(AUTO, *DEVICES)!r}; got {asked!r}. Choose one of them.")
    if asked not in here:
        raise InvalidInput(
            f"A device must be on this machine; torch {torch.__version__} finds {', '.join(here)}, and {asked!r} was asked for. "
            f"Use {AUTO!r}, or install a driver and a torch build for it."
        )
    return asked


def _is_here(device: Device) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    return device == "cpu" or torch.backends.mps.is_available()
