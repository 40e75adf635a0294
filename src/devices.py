"""Where tensors are, and in which precision they are multiplied."""

import platform

import torch
from torch import nn

from src.errors import MnistryError
from src.resources import free_memory


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


def choose_precision(name: str, device: torch.device, model: nn.Module) -> torch.dtype:
    """The type to multiply in while training: `auto` is bfloat16 where that is known to be faster.

    It never goes by a timing, which would change the bytes from run to run. docs/log.md has the measurements.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    layer = nn.Conv2d if has_convolutions(model) else nn.Linear if has_hidden_layers(model) else None
    if device.type == "cpu" and trains_depthwise(model):
        return torch.float32
    return torch.bfloat16 if layer in _fast_in_bfloat16(device) else torch.float32


def _fast_in_bfloat16(device: torch.device) -> set[type[nn.Module]]:
    """The layers that the device computes sooner in bfloat16, by what torch says of it.

    Convolutions on processors with matrix units for it (AMX), and on CUDA from compute capability 8.0 on; both kinds on
    AMD's processors with AVX-512's bfloat16. Intel's with that alone are slower than in float32. All of this was
    measured, but on CUDA only with MNIST's models on an H200, which wait for kernels to be launched: neither precision
    is faster there. bfloat16 is for larger networks, which weren't measured, as ARM's processors weren't.
    """
    if device.type == "cuda":
        return {nn.Conv2d} if torch.cuda.get_device_capability(device) >= (8, 0) else set()
    found = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    if found.get("amx_bf16"):
        return {nn.Conv2d}
    if found.get("avx512_bf16") and str(found.get("cpu_name")).startswith("AMD"):
        return {nn.Conv2d, nn.Linear}
    return set()


def free_on(device: torch.device) -> int | None:
    """Bytes that this process can still get on the device, or None where it doesn't say."""
    if device.type == "cpu":
        return free_memory()
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return None


def has_convolutions(model: nn.Module) -> bool:
    """Whether the model convolves images, rather than flattening them."""
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def trains_depthwise(model: nn.Module) -> bool:
    """Whether convolutions of each channel by itself are trained.

    On a processor, their gradients take twice as long in bfloat16 as in float32, also on one with AMX. Those of groups
    of several channels don't.
    """
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return any(each.groups == each.in_channels > 1 and each.weight.requires_grad for each in convolutions)


def has_hidden_layers(model: nn.Module) -> bool:
    """Whether there are linear layers below the last one."""
    return sum(isinstance(module, nn.Linear) for module in model.modules()) > 1


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on the device, its convolutions in the memory layout that is fastest for them."""
    model = model.to(device)
    return model.to(memory_format=torch.channels_last) if has_convolutions(model) else model


def describe_device(device: torch.device) -> str:
    """The device's name for a log, with the accelerator's model where torch knows it, or the number of threads."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return str(device)


def processor_name() -> str:
    """The processor's name, as far as torch or the system knows it."""
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine())


def arithmetic(device: torch.device, precision: torch.dtype) -> dict[str, str]:
    """What decides the last bits of a training, besides its inputs: names and values for a log or a key."""
    return {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": str(precision).removeprefix("torch."),
        "processor": f"{processor_name()} ({torch.backends.cpu.get_cpu_capability()})",
        "threads": str(torch.get_num_threads()),
    }
