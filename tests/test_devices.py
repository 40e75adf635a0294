import pytest
import torch

from src.devices import available_devices, choose_device, choose_precision, place
from src.errors import MnistryError
from src.models import build_network


def test_auto_is_the_accelerator_or_else_the_cpu(monkeypatch):
    """Whichever kind of accelerator torch has."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("xpu"))
    assert choose_device("auto") == torch.device("xpu")


def test_missing_device_is_an_error_that_lists_what_there_is(monkeypatch):
    """On a machine with the CPU alone, and on one with two accelerators."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    with pytest.raises(MnistryError, match=r"'cuda' is not available here; expected auto or one of cpu$"):
        choose_device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert available_devices() == ["cpu", "cuda", "cuda:0", "cuda:1"]
    with pytest.raises(MnistryError, match=r"'cuda:2' is not available"):
        choose_device("cuda:2")
    assert choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(("name", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_named_precision_is_taken(params, name, expected):
    """On any device, for any model."""
    model = build_network("linear", params.models.linear, (1, 8, 8), 10)
    assert choose_precision(name, torch.device("cpu"), model) is expected


@pytest.mark.parametrize(
    ("capabilities", "in_bfloat16"),
    [
        ({"cpu_name": "Intel Xeon", "amx_bf16": True, "avx512_bf16": True}, {"cnn", "resnet"}),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True}, set()),
        ({"cpu_name": "AMD EPYC 9R14", "avx512_bf16": True}, {"mlp", "cnn", "resnet"}),
        ({"cpu_name": "AMD EPYC 7R13", "avx2": True}, set()),
        ({}, set()),
    ],
)
def test_auto_precision_goes_by_processor_and_model(params, monkeypatch, capabilities, in_bfloat16):
    """Bfloat16 where it is known to be faster, float32 everywhere else."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    for name in ("linear", "mlp", "cnn", "resnet"):
        model = build_network(name, getattr(params.models, name), (1, 8, 8), 10)
        assert (choose_precision("auto", torch.device("cpu"), model) is torch.bfloat16) == (name in in_bfloat16), name


@pytest.mark.parametrize(("trained", "expected"), [("head", torch.bfloat16), ("all", torch.float32)])
def test_depthwise_convolutions_are_trained_in_float32(params, monkeypatch, trained, expected):
    """With AMX, their gradients alone are slower in bfloat16: the default backbone's features are not."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Intel Xeon", "amx_bf16": True})
    recipe = params.models.pretrained.model_copy(update={"trained": trained, "image_size": 32})
    model = build_network("pretrained", recipe, (3, 32, 32), 10)
    assert choose_precision("auto", torch.device("cpu"), model) is expected
    assert choose_precision("auto", torch.device("cpu"), torch.nn.Conv2d(8, 8, 3, groups=4)) is torch.bfloat16


@pytest.mark.parametrize(("capability", "in_bfloat16"), [((7, 5), set()), ((8, 0), {"cnn"}), ((9, 0), {"cnn"})])
def test_auto_precision_on_cuda_goes_by_its_capability(params, monkeypatch, capability, in_bfloat16):
    """Before 8.0 there is no bfloat16 in its matrix units."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    for name in ("mlp", "cnn"):
        model = build_network(name, getattr(params.models, name), (1, 8, 8), 10)
        assert (choose_precision("auto", torch.device("cuda"), model) is torch.bfloat16) == (name in in_bfloat16), name


def test_placed_model_computes_the_same(params):
    """The memory layout is for speed alone."""
    model, images = build_network("cnn", params.models.cnn, (3, 8, 8), 10), torch.randn(4, 3, 8, 8)
    expected = model(images)
    placed = place(model, torch.device("cpu"))
    assert placed.get_parameter("0.weight").is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(placed(images), expected)
