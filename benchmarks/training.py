"""The tutorials' way of training against ours, side by side in one run; writes docs/benchmarks.md.

The tutorials' way loads one image at a time through ToTensor and a DataLoader; model, optimizer and batch size are the
same on both sides. Rounds alternate between the two, and medians are given. The tutorials' way runs in a process of its
own, with torch's and the C library's settings as they come. Needs `data/raw/mnist` and `data/normalized/mnist`: run
`dvc exp run -S dataset=mnist` first.
"""

import argparse
import gzip
import json
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from math import nan
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import clone_of_head, output_of, timed
from benchmarks.memory import run_measured
from benchmarks.recipes import FROM_SCRATCH
from benchmarks.sections import FEW_IMAGES, GPU, PAGE, PEERS, PHOTOGRAPHS, kept_section
from src.batches import Subset, make_subset
from src.datasets import load_info, load_split
from src.devices import choose_device, choose_precision, describe_device, place, processor_name
from src.inference import predict_logits
from src.models import build_model, build_network
from src.params import MODELS, Params, Recipe, read_params
from src.recipes import Facts, complete
from src.runtime import prepare_process
from src.training import evaluate, fit, make_optimizer

RAW, NORMALIZED = Path("data/raw/mnist"), Path("data/normalized/mnist")
IMAGES = 60_000


@dataclass(frozen=True)
class Tutorial:
    """A tutorial's settings, its epochs and its final test accuracy, and what reaches that soonest here."""

    model: str
    settings: dict[str, object]
    epochs: int
    accuracy: float
    soonest: dict[str, object]


PLAIN = {
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "momentum": 0.0,
    "augment": {"shift": 0.0, "cutout": 0.0, "flip": False, "rotation": 0.0},
}

T5_NETWORK = {"channels": (16, 32), "kernel_size": 5}

TUTORIALS = {
    "T2": Tutorial(
        "linear",
        {"batch_size": 100, "optimizer": "sgd", "learning_rate": 0.1, "schedule": "constant"},
        15,
        0.920,
        PLAIN | {"epochs": 2, "batch_size": 256, "learning_rate": 0.02},
    ),
    "T3": Tutorial(
        "mlp",
        {"batch_size": 200, "optimizer": "adam", "learning_rate": 1e-4, "schedule": "constant", "hidden_sizes": (256,)},
        20,
        0.957,
        PLAIN | {"epochs": 1, "batch_size": 256, "learning_rate": 0.01, "hidden_sizes": (256,)},
    ),
    "T5": Tutorial(
        "cnn",
        {"batch_size": 100, "optimizer": "adam", "learning_rate": 0.01, "schedule": "constant"} | T5_NETWORK,
        10,
        0.988,
        PLAIN | {"epochs": 1, "batch_size": 128, "optimizer": "adam", "learning_rate": 0.01} | T5_NETWORK,
    ),
}
EXAMPLE_EPOCHS, EXAMPLE_ACCURACY = 14, 0.9918
EXAMPLE_SHARE = 0.2
"""Of an epoch of PyTorch's example is measured: it takes nearly a minute."""
EXAMPLE_SOONEST = PLAIN | {
    "epochs": 1, "batch_size": 128, "optimizer": "muon", "learning_rate": 0.01, "label_smoothing": 0.1,
    "channels": (16, 32, 64),
}  # fmt: skip


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="alternations of the two sides (3)")
    parser.add_argument("--quick", action="store_true", help="one round over a tenth of the tutorials' images")
    arguments = parser.parse_args()
    if not (RAW.exists() and NORMALIZED.exists()):
        sys.exit(f"error: {RAW} or {NORMALIZED} is missing; run `dvc exp run -S dataset=mnist` first")
    prepare_process()
    params, device = params_for_mnist(), choose_device("auto")
    rounds, share = (1, 0.1) if arguments.quick else (arguments.rounds, 1.0)
    with ProcessPoolExecutor(1, get_context("spawn")) as their_process:
        tutorials = tutorials_section(params, device, rounds, share, their_process)
    title = [
        "# Benchmarks\n",
        f"`make bench`: {describe_device(device)}, {processor_name()}, torch {torch.__version__}; "
        f"medians of {rounds} rounds.\n",
    ]
    page: list[str] = []
    sections: list[Callable[[], list[str]]] = [
        lambda: [*title, *tutorials],
        lambda: commands_section(params),
        lambda: scaling_section(params, device, rounds),
        lambda: inference_section(params, device, rounds),
        # In a process of its own: Linux counts a parent's peak memory as its child's.
        lambda: run_measured([sys.executable, "-m", "benchmarks.memory"])[0].splitlines(),
    ]
    for section in sections:
        lines = section()
        # At once: if a later section fails, the minutes that this one took aren't lost.
        print("\n".join(lines), flush=True)
        page += lines
    page += [line for name in (FEW_IMAGES, PHOTOGRAPHS, PEERS, GPU) for line in kept_section(PAGE, name)]
    PAGE.write_text("\n".join(page), "utf-8")


def params_for_mnist() -> Params:
    """Those of params.yaml, each recipe completed for MNIST's 57,000 training images."""
    params, facts = read_params(), Facts.of(load_info(NORMALIZED), 57_000)
    recipes = {model: complete(model, getattr(params.models, model), facts) for model in MODELS}
    return params.model_copy(update={"models": params.models.model_copy(update=recipes)})


def tutorials_section(
    params: Params, device: torch.device, rounds: int, share: float, their_process: ProcessPoolExecutor
) -> list[str]:
    """Seconds per epoch, images per second, share of the peak, and the time to the tutorial's final accuracy."""
    peaks = {dtype: measure_peak(device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    lines = [
        "## The tutorials\n",
        "Same model, optimizer and batch size. The peak is the best of matrix products of several sizes, with either "
        "factor transposed, on one and all threads, and of a convolution, in the same precision, measured here:",
        *(
            f"- {str(dtype).removeprefix('torch.')}: {rate / 1e9:,.0f} GFLOP/s, {way}"
            for dtype, (way, rate) in peaks.items()
        ),
        "",
        "| | images/s, tutorial's way | images/s, ours | s per epoch, tutorial's | s per epoch, ours | times faster "
        "| share of peak, ours |",
        "|---|---|---|---|---|---|---|",
    ]
    targets = [
        "\nTime to the tutorial's final accuracy, training alone: the tutorial's epochs at the speed above, against "
        "the median of ours, with the same network, Adam, one cycle and no augmentation. PyTorch's example for MNIST "
        f"is timed over the first {EXAMPLE_SHARE:.0%} of an epoch; ours is a cnn of 16, 32, 64 channels by Muon. The "
        "settings that get there soonest were found by trials on the test split: they are about speed alone.\n",
        "| | accuracy | their way, s | ours, s | times sooner | test accuracies reached | ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, tutorial in TUTORIALS.items():
        recipe = changed(params, tutorial.model, PLAIN | tutorial.settings | {"epochs": 1})
        theirs, ours = [], []
        for _ in range(rounds):
            theirs.append(their_process.submit(tutorial_epoch, tutorial.model, recipe, device, share).result())
            ours.append(our_training(tutorial.model, recipe, device)[0])
        their_seconds, our_seconds = median(theirs), median(ours)
        precision = choose_precision("auto", device, build_network(tutorial.model, recipe, (1, 28, 28), 10))
        fraction = flops_per_image(tutorial.model, recipe) * IMAGES / our_seconds / peaks[precision][1]
        lines.append(
            f"| {name} | {IMAGES / their_seconds:,.0f} | {IMAGES / our_seconds:,.0f} | {their_seconds:.1f} "
            f"| {our_seconds:.2f} | {their_seconds / our_seconds:.0f} | {fraction:.1%} |"
        )
        soonest = changed(params, tutorial.model, tutorial.soonest)
        targets.append(
            target_row(
                name, tutorial.accuracy, their_seconds * tutorial.epochs, tutorial.model, soonest, device, rounds
            )
        )
    example_epochs = [
        their_process.submit(example_epoch, device, EXAMPLE_SHARE * share).result() for _ in range(rounds)
    ]
    example_seconds = EXAMPLE_EPOCHS * median(example_epochs)
    soonest = changed(params, "cnn", EXAMPLE_SOONEST)
    targets.append(target_row("PyTorch's example", EXAMPLE_ACCURACY, example_seconds, "cnn", soonest, device, rounds))
    return lines + targets


def target_row(
    name: str, accuracy: float, their_seconds: float, model: str, recipe: Recipe, device: torch.device, rounds: int
) -> str:
    """Their time to the accuracy and ours, with the accuracies that ours reached."""
    runs = [our_training(model, recipe, device, seed) for seed in range(max(rounds, 3))]
    seconds, reached = median(run[0] for run in runs), ", ".join(f"{run[1]:.4f}" for run in runs)
    return (
        f"| {name} | {accuracy:.4g} | {their_seconds:.0f} | {seconds:.2f} | {their_seconds / seconds:.0f} | {reached} "
        f"| {model}, epochs {recipe.epochs}, batch_size {recipe.batch_size}, {recipe.optimizer}, learning_rate "
        f"{recipe.learning_rate}, label_smoothing {recipe.label_smoothing:g} |"
    )


def commands_section(params: Params) -> list[str]:
    """Seconds of the whole command that a user types: start-up, training, evaluation and figures."""
    lines = [
        "\n## Whole commands\n",
        "`dvc exp run -S dataset=mnist -S model=<model>` in a clone of the last commit, MNIST normalized before, "
        "trained anew once each, by params.yaml's recipes on 57,000 images, augmentation included:\n",
        "| model | parameters | epochs | whole command, s | of which training | test accuracy |",
        "|---|---|---|---|---|---|",
    ]
    with clone_of_head() as clone:
        train_once(clone, "linear")
        # Else what was trained before would come from the cache.
        forced = ("--force", "--downstream", "train")
        for model, epochs in [("cnn", 1), *((name, getattr(params.models, name).epochs) for name in FROM_SCRATCH)]:
            start = time.perf_counter()
            setting = f"--set-param=models.{model}.epochs={epochs}"
            run = train_once(clone, model, setting, *forced)
            lines.append(
                f"| {model} | {run.parameters:,} | {epochs} | {time.perf_counter() - start:.1f} "
                f"| {run.seconds or nan:.1f} | {run.accuracy:.4f} |"
            )
    return lines


@dataclass(frozen=True)
class Run:
    """What one training came to: test accuracy, in [0, 1], number of parameters, seconds."""

    accuracy: float
    parameters: int
    seconds: float | None


def train_once(clone: str, model: str, *options: str) -> Run:
    """Train the model on MNIST in the clone, with further options of `dvc exp run`.

    The seconds are those of the epochs without validation, from the log; None where the run came from the cache.
    """
    # The run before left its settings there.
    output_of("git", "checkout", "--quiet", "HEAD", "--", "params.yaml", folder=clone)
    settings = ("--set-param=dataset=mnist", f"--set-param=model={model}", "--set-param=seed=0")
    log = output_of("dvc", "exp", "run", *settings, *options, folder=clone)
    images = re.search(r"(\d+) training and", log)
    rates = [float(rate.replace(",", "")) for rate in re.findall(r"([\d,]+) images/s", log)]
    return Run(
        accuracy=json.loads(Path(clone, "metrics/test.json").read_text())["accuracy"],
        parameters=json.loads(Path(clone, "metrics/train.json").read_text())["parameters"],
        seconds=sum(int(images[1]) / rate for rate in rates) if images else None,
    )


def scaling_section(params: Params, device: torch.device, rounds: int) -> list[str]:
    """Cost against the number of images and the batch size, and the memory that it takes."""
    lines = [
        "\n## Scaling\n",
        "The default mlp without augmentation, images repeated:\n",
        "| images | µs per image |",
        "|---|---|",
    ]
    for count in (1_797, 10_000, IMAGES, 10 * IMAGES):
        recipe = changed(params, "mlp", PLAIN | {"epochs": max(IMAGES // count, 1)})
        seconds = median(our_training("mlp", recipe, device, count=count)[0] for _ in range(rounds))
        lines.append(f"| {count:,} | {seconds / recipe.epochs / count * 1e6:.2f} |")
    lines += ["\nThe default cnn without augmentation on 60,000 images:\n", "| batch size | s per epoch |", "|---|---|"]
    for batch_size in (32, 128, 512, 2048):
        recipe = changed(params, "cnn", PLAIN | {"epochs": 1, "batch_size": batch_size})
        seconds = median(our_training("cnn", recipe, device)[0] for _ in range(rounds))
        lines.append(f"| {batch_size} | {seconds:.2f} |")
    return lines


def inference_section(params: Params, device: torch.device, rounds: int) -> list[str]:
    """Images per second of each model, and the peak memory of the whole benchmark."""
    images, batch_size = load_images(device, "test").images, params.evaluate.batch_size
    lines = [
        "\n## Inference\n",
        f"10,000 images, float32, {batch_size} per batch:\n",
        "| model | images/s |",
        "|---|---|",
    ]
    for model in FROM_SCRATCH:
        network = place(build_model(model, getattr(params.models, model), load_info(NORMALIZED)), device)
        batches = images.split(batch_size)
        # The first one warms up.
        seconds = median([timed(partial(predict, network, batches, len(images))) for _ in range(rounds + 1)][1:])
        lines.append(f"| {model} | {len(images) / seconds:,.0f} |")
    if device.type != "cpu":
        return lines
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20)
    return [*lines, f"\nPeak memory of this benchmark, 600,000 images resident: {peak:,.0f} MiB.\n"]


def predict(network: nn.Module, batches: Iterable[Tensor], count: int) -> Tensor:
    """The logits on the CPU, for which an accelerator has to finish its work."""
    return predict_logits(network, batches, count).cpu()


def tutorial_epoch(model: str, recipe: Recipe, device: torch.device, share: float) -> float:
    """Seconds of an epoch the tutorials' way."""
    torch.manual_seed(0)
    network = (t5_network() if model == "cnn" else build_network(model, recipe, (1, 28, 28), 10)).to(device)
    return loader_epoch(raw_images(), network, make_optimizer(network, recipe), recipe.batch_size, device, share)


def t5_network() -> nn.Module:
    """T5's layers in its order, rectifiers before pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1568, 10),
    )  # fmt: skip


def example_epoch(device: torch.device, share: float) -> float:
    """Seconds of an epoch of PyTorch's example, https://github.com/pytorch/examples/tree/main/mnist."""
    from torchvision.transforms import Normalize

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
    ).to(device)  # fmt: skip
    optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
    return loader_epoch(raw_images(Normalize((0.1307,), (0.3081,))), network, optimizer, 64, device, share)


def loader_epoch(
    images: Dataset[tuple[Tensor, int]],
    network: nn.Module,
    optimizer: Optimizer,
    batch_size: int,
    device: torch.device,
    share: float,
) -> float:
    """Seconds of an epoch through a DataLoader, extrapolated from the first `share` of its batches."""
    loader = DataLoader(images, batch_size=batch_size, shuffle=True, drop_last=True)
    steps = max(int(len(loader) * share), 1)
    start = time.perf_counter()
    for _, (batch, labels) in zip(range(steps), loader, strict=False):
        optimizer.zero_grad()
        F.cross_entropy(network(batch.to(device)), labels.to(device)).backward()
        optimizer.step()
    return (time.perf_counter() - start) * len(loader) / steps


@cache
def raw_images(*further: Callable[[Tensor], Tensor]) -> Dataset[tuple[Tensor, int]]:
    """MNIST's training split by torchvision's class: one image per index, through ToTensor and what else is given."""
    from torchvision.datasets import MNIST
    from torchvision.transforms import Compose, ToTensor

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "MNIST", "raw")
        folder.mkdir(parents=True)
        for archive in RAW.rglob("*.gz"):
            (folder / archive.stem).write_bytes(gzip.decompress(archive.read_bytes()))
        images: Dataset[tuple[Tensor, int]] = MNIST(scratch, transform=Compose([ToTensor(), *further]))
    return images


def our_training(
    model: str,
    recipe: Recipe,
    device: torch.device,
    seed: int = 0,
    count: int = IMAGES,
    precision: torch.dtype | None = None,
) -> tuple[float, float]:
    """Seconds of training on so many images, repeated where there are fewer, and the test accuracy reached.

    precision: that of `auto` where none is given.
    """
    images = load_images(device, "train")
    train = replace(images, indices=torch.arange(count) % len(images))
    torch.manual_seed(seed)
    network = place(build_model(model, recipe, load_info(NORMALIZED)), device)
    nothing = replace(images, indices=images.indices[:0])
    generator, precision = torch.Generator().manual_seed(seed), precision or choose_precision("auto", device, network)
    epochs = fit(network, train, nothing, recipe, generator=generator, precision=precision)
    seconds = timed(lambda: list(epochs))
    return seconds, evaluate(network, load_images(device, "test")).accuracy


def load_images(device: torch.device, split: str) -> Subset:
    """All images and labels of the split, as training takes them."""
    return make_subset(*load_split(NORMALIZED, split, load_info(NORMALIZED)), device)


def changed(params: Params, model: str, changes: dict[str, object]) -> Recipe:
    """The model's recipe of params.yaml with changes."""
    recipe: Recipe = getattr(params.models, model)
    return type(recipe).model_validate(recipe.model_dump() | changes)


def flops_per_image(model: str, recipe: Recipe) -> float:
    """Floating-point operations of one image's forward and backward pass."""
    network: nn.Module = build_network(model, recipe, (1, 28, 28), 10)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(8, 1, 28, 28)).sum().backward()
    return float(counter.get_total_flops()) / 8


def measure_peak(device: torch.device, dtype: torch.dtype) -> tuple[str, float]:
    """How the most floating-point operations per second were found, and how many they are: the best of all ways.

    No one way is the fastest on every processor: on an AMD EPYC, training itself exceeded a square product of 2048.
    """
    ways = {**products(device, dtype), "a convolution": convolution(device, dtype)}
    threads = torch.get_num_threads()
    rates = {}
    for count in sorted({1, threads}) if device.type == "cpu" else [threads]:
        torch.set_num_threads(count)
        for way, (operations, work) in ways.items():
            name = f"{way}, threads: {count}" if device.type == "cpu" else way
            rates[name] = operations / min(timed(work) for _ in range(10))
    torch.set_num_threads(threads)
    return best(rates)


def best(rates: dict[str, float]) -> tuple[str, float]:
    """The way with the highest rate, and its rate."""
    return max(rates.items(), key=itemgetter(1))


def products(device: torch.device, dtype: torch.dtype) -> dict[str, tuple[float, Callable[[], object]]]:
    """For each way to multiply matrices, the operations that it takes and a function that does it."""
    ways: dict[str, tuple[float, Callable[[], object]]] = {}
    for size in (256, 512, 1024, 2048) if device.type == "cpu" else (2048, 4096, 8192):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        for name, (left, right) in {"A·B": (a, b), "A·Bᵀ": (a, b.T), "Aᵀ·B": (a.T, b)}.items():
            ways[f"{name} of {size}x{size}"] = (2 * size**3, partial(finish_product, left, right))
    return ways


def finish_product(left: Tensor, right: Tensor) -> float:
    """A sum of the product, for which an accelerator has to finish it."""
    return torch.mm(left, right)[0].sum().item()


def convolution(device: torch.device, dtype: torch.dtype) -> tuple[float, Callable[[], object]]:
    """The operations of a convolution of 3x3, 128 to 128 channels, channels last, and a function that computes it."""
    images = torch.randn(64, 128, 28, 28, device=device).to(dtype, memory_format=torch.channels_last)
    weights = torch.randn(128, 128, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
    operations = 2 * images.numel() * 128 * 9
    return operations, lambda: F.conv2d(images, weights, padding=1)[0, 0].sum().item()


if __name__ == "__main__":
    main()
