"""Choosing where tensors live."""

import torch

from src.errors import MnistryError


def choose_device(name: str) -> torch.device:
    """The device that params name: `auto` is torch's current accelerator, whichever kind, else the CPU.

    Raises MnistryError, listing what there is, where the named one isn't available.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    available = available_devices()
    if name not in available:
        raise MnistryError(f"device: {name!r} is not available here; expected auto or one of {', '.join(available)}")
    return torch.device(name)


def available_devices() -> list[str]:
    """The names of the devices of this machine, the CPU first."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return ["cpu"]
    kind = accelerator.type
    return ["cpu", kind, *(f"{kind}:{index}" for index in range(torch.accelerator.device_count()))]


def describe_device(device: torch.device) -> str:
    """The device's name for a log, with the processor's where torch knows it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return str(device)


def make_deterministic() -> None:
    """Make torch choose algorithms that give the same bits in every run on the same machine."""
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
