"""Training on and evaluating more images than memory holds, for docs/scaling.md: `python -m benchmarks.large`.

MNIST's images are repeated until they are four times the memory of a control group (cgroup), page cache included, and
the group's processes find nothing of their file in the cache. Needs root on Linux, `data/normalized/mnist` (run
`dvc exp run -S dataset=mnist` first), and 8 GB of disk; takes a quarter of an hour on a quiet machine.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
import yaml
from torch import nn

from benchmarks.memory import peak_bytes, run_measured
from benchmarks.sections import put_section
from src.augmentation import make_augmentation
from src.batches import load_subsets, shuffled_batches
from src.datasets import load_info, load_split, save_files, save_info, write_split
from src.devices import place, processor_name
from src.models import build_model
from src.params import read_params
from src.recipes import Facts, complete_params
from src.resources import CGROUPS, in_words
from src.runtime import prepare_process
from src.training import make_optimizer, train_epoch

NORMALIZED = Path("data/normalized/mnist")
PAGE, SECTION = Path("docs/scaling.md"), "large"
LIMIT = 640 << 20
"""Bytes of memory of the control group, of which Python and torch take some 300 MB."""
TIMES = 4
"""As many bytes of images as that, for the speed."""
STEPS, MAPPED_STEPS = 200, 20
"""Of training that are timed: from the map, each takes long."""
ROUNDS = 3
SIZES = (1, 8)
IMAGES = 400_000
"""To train on, or to test on, at the first size, for the peaks of memory."""


def main() -> None:
    """Measure, and write the section; or be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        kind, folder = arguments.measure
        print(json.dumps(speed_of_training(kind, Path(folder))))
        return
    lines = [
        f"`python -m benchmarks.large`: threads {torch.get_num_threads()}, {processor_name()}, MNIST's images "
        f"repeated, in a control group of {in_words(LIMIT)} of memory, page cache included and cold at the start.\n",
        *speed_lines(),
        "",
        *memory_lines(),
    ]
    put_section(PAGE, SECTION, lines)
    print("\n".join(lines))


def speed_lines() -> list[str]:
    """The table of images per second; rounds alternate between the ways."""
    with tempfile.TemporaryDirectory(dir=".") as folder, memory_group() as group:
        normalized = Path(folder, "normalized")
        write_repeated(normalized, "train", TIMES * LIMIT // 784)
        found: dict[str, list[dict[str, float]]] = {"memory": [], "blocks": [], "map": []}
        for _ in range(ROUNDS):
            for kind, results in found.items():
                if kind != "memory":
                    forget(normalized / "train_images.npy")
                command = [sys.executable, "-m", "benchmarks.large", "--measure", kind, str(normalized)]
                output = run_in(None if kind == "memory" else group, command, Path.cwd())[0]
                results.append(json.loads(output.splitlines()[-1]))
                print(kind, results[-1], file=sys.stderr)
    whole = found["memory"]
    lines = [
        f"The cnn on {TIMES * LIMIT // 784:,} images, augmentation included, over {STEPS:,} steps; medians of {ROUNDS} "
        "rounds:\n",
        "| images | images/s | of those in memory | by processor time |",
        "|---|---|---|---|",
    ]
    for kind, name in (
        ("memory", "in memory, no limit"), ("blocks", "in blocks, a quarter of the memory"),
        ("map", f"gathered from the map, the same memory, {MAPPED_STEPS} steps"),
    ):  # fmt: skip
        ratios = [
            median(result[unit] / other[unit] for result, other in zip(found[kind], whole, strict=True))
            for unit in ("per_second", "per_processor_second")
        ]
        speed = median(result["per_second"] for result in found[kind])
        lines.append(f"| {name} | {speed:,.0f} | {ratios[0]:.0%} | {ratios[1]:.0%} |")
    return lines


def speed_of_training(kind: str, folder: Path) -> dict[str, float]:
    """Images per second of a cnn's first steps. kind: `memory`, `blocks`, or `map`, which is what memory is too."""
    prepare_process()
    torch.manual_seed(0)
    dataset, params = load_info(folder), read_params().model_copy(update={"model": "cnn"})
    cpu, steps = torch.device("cpu"), MAPPED_STEPS if kind == "map" else STEPS
    train, _ = load_subsets(folder, dataset, params.train, 0, cpu, stored=kind == "blocks")
    recipe = complete_params(params, Facts.of(dataset, len(train))).recipe
    model, augment = place(build_model("cnn", recipe, dataset), cpu), make_augmentation(recipe.augment, 0, cpu)
    shuffled = shuffled_batches(train, recipe.batch_size, torch.Generator().manual_seed(0))
    batches = ((augment(images) if augment else images, labels) for images, labels in islice(shuffled, steps))
    wall, processor = time.perf_counter(), time.process_time()
    optimizer = make_optimizer(model, recipe)
    *_, seen = train_epoch(model, batches, steps, optimizer, None, nn.CrossEntropyLoss(), torch.float32)
    return {
        "per_second": seen / (time.perf_counter() - wall),
        "per_processor_second": seen / (time.process_time() - processor),
    }


def memory_lines() -> list[str]:
    """The table of peaks of `stages.train` and `stages.evaluate`, linear, one epoch."""
    lines = [
        "Peak of resident memory of `stages.train` and `stages.evaluate`, linear, one epoch, in the same group:\n",
        "| images | bytes of images | train, MB | evaluate, MB |",
        "|---|---|---|---|",
    ]
    for size in SIZES:
        count = size * IMAGES
        train, evaluate = peaks(count)
        lines.append(f"| {count:,} | {in_words(784 * count)} | {train / 1e6:,.0f} | {evaluate / 1e6:,.0f} |")
        print(lines[-1], file=sys.stderr)
    return lines


def peaks(count: int) -> tuple[int, int]:
    """Bytes of resident memory that train and evaluate hold at most, on so many images each."""
    project, outputs = Path.cwd(), ("classifier", "train.json", "history.csv", "validation.csv")
    params = yaml.safe_load((project / "params.yaml").read_text("utf-8"))
    params["model"], params["models"]["linear"]["epochs"] = "linear", 1
    with tempfile.TemporaryDirectory(dir=".") as name, memory_group() as group:
        folder = Path(name).resolve()
        for split in ("train", "test"):
            write_repeated(folder / "normalized", split, count)
            forget(folder / f"normalized/{split}_images.npy")
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        python = [sys.executable, "-m"]
        output, train = run_in(group, [*python, "stages.train", "normalized", *outputs], folder)
        assert "read in shuffled blocks" in output
        results = ("metrics", "predictions.csv", "figures")
        command = [*python, "stages.evaluate", "normalized", "classifier", "history.csv", *results]
        return train, run_in(group, command, folder)[1]


def run_in(group: Path | None, command: list[str], folder: Path) -> tuple[str, int]:
    """What the command prints, run in the folder and in the control group, and its peak of resident memory in bytes."""
    if group:
        command = ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh", *command]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "MNISTRY_RESUME": "no"}
    output, usage = run_measured(command, folder, environment)
    return output, peak_bytes(usage)


@contextmanager
def memory_group() -> Iterator[Path]:
    """A control group of version 2 or 1 with LIMIT bytes of memory and no swap space."""
    whole = CGROUPS / "cgroup.controllers"
    second = whole.exists() and "memory" in whole.read_text().split()
    group = (CGROUPS if second else CGROUPS / "memory") / "mnistry-benchmark"
    try:
        if second:
            (CGROUPS / "cgroup.subtree_control").write_text("+memory")
        group.mkdir(exist_ok=True)
        (group / ("memory.max" if second else "memory.limit_in_bytes")).write_text(str(LIMIT))
    except OSError as error:
        sys.exit(f"error: {group}: {error.strerror}; expected root on Linux, with control groups of memory")
    yield group
    group.rmdir()


def forget(path: Path) -> None:
    """Write the file to the disk, and drop it from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_repeated(folder: Path, split: str, count: int) -> None:
    """Add a split of so many images to a normalized dataset: MNIST's training images, over and over."""
    folder.mkdir(exist_ok=True)
    info = load_info(NORMALIZED)
    images, labels = load_split(NORMALIZED, "train", info)
    times = -(-count // len(images))
    chunks = (images[: min(len(images), count - start)] for start in range(0, count, len(images)))
    known = load_info(folder).sha256 if (folder / "dataset.json").exists() else {}
    digest = write_split(folder, split, chunks, np.tile(labels, times)[:count], info.shape)
    save_files(folder, split, (f"{split}/{i}" for i in range(count)))
    save_info(folder, replace(info, sha256=known | {split: digest}))


if __name__ == "__main__":
    main()
