import platform

import pytest
import torch
from torch.nn import functional as F

from src.models import build_network
from src.runtime import without_compiler
from tests.conftest import words_printed


def test_determinism_is_on_and_imports_no_compiler():
    """Torch refuses what it can't repeat; its compiler would cost every stage seconds."""
    program = (
        "import sys, torch; from src.runtime import make_deterministic; make_deterministic();"
        "print(torch.are_deterministic_algorithms_enabled(), any('torch._inductor' in name for name in sys.modules))"
    )
    assert words_printed(program) == ["True", "False"]


def test_float32_is_not_rounded_on_cuda():
    """Each process that is prepared keeps convolutions from TensorFloat-32."""
    program = "import torch; from src.runtime import prepare_process; prepare_process();"
    assert words_printed(f"{program} print(torch.backends.cudnn.allow_tf32)") == ["False"]


@pytest.mark.parametrize(("package", "run"), [("stages", "run_stage"), ("commands", "run_command")])
def test_no_garbage_is_collected_while_libraries_are_imported(package, run):
    """It is while the process works, though not among what was imported."""
    program = (
        f"import gc, sys; sys.argv = ['-m']; import {package}; print(gc.isenabled());"
        f"{package}.{run}(lambda: print(gc.isenabled(), gc.get_freeze_count() > 1000))"
    )
    assert words_printed(program) == ["False", "True", "True"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again():
    """Steps of a convolutional network take no new pages from the system, whatever the first ones took."""
    program = (
        "import resource, torch; from torch import nn; from src.runtime import keep_freed_memory; keep_freed_memory();"
        "model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.MaxPool2d(2), nn.Conv2d(16, 64, 3), nn.MaxPool2d(2));"
        "images = torch.zeros(128, 1, 28, 28);"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt;"
        "steps = lambda: [model(images).sum().backward() for _ in range(8)];"
        "steps(); before = faults(); steps(); print(faults() - before)"
    )
    (faults,) = words_printed(program)
    assert int(faults) < 5_000  # of 8 steps; without it, up to 24,000


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_optimizer_without_compiler_is_torchs(params, kind, fused):
    """Bit for bit, over 30 steps."""
    options = {"lr": 0.01, "weight_decay": 0.05, "fused": fused}
    if kind is torch.optim.SGD:
        options["momentum"] = 0.9
    weights = []
    for each in (kind, without_compiler(kind)):
        torch.manual_seed(0)
        model = build_network("mlp", params.models.mlp, (1, 8, 8), 10)
        optimizer = each(model.parameters(), **options)
        images, labels = torch.randn(32, 1, 8, 8), torch.arange(32) % 10
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        weights.append(torch.nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(*weights)
