"""The default recipes and our training on a GPU: `python -m benchmarks.gpu`, a section of docs/benchmarks.md.

Each recipe is trained twice, by the pipeline's stages in processes of their own, and has to come out with the same
bytes. Then come the sections of `benchmarks.training` that an accelerator concerns. Needs a GPU for CUDA,
`data/raw/mnist`, and `data/normalized/` with digits, mnist and fashion_mnist; other datasets can be named.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
import yaml

from benchmarks import timed
from benchmarks.memory import run_measured
from benchmarks.recipes import FROM_SCRATCH
from benchmarks.sections import GPU, PAGE, put_section
from benchmarks.training import (
    NORMALIZED,
    RAW,
    inference_section,
    our_training,
    params_for_mnist,
    scaling_section,
    tutorials_section,
)
from src.devices import choose_device, describe_device, processor_name
from src.params import Params, read_params
from src.runtime import prepare_process

DATASETS = ("digits", "mnist", "fashion_mnist")


def main() -> None:
    """Measure, print each part as it is known, and write the section."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="+", default=DATASETS, help="of data/normalized (%(default)s)")
    parser.add_argument("--models", nargs="+", default=FROM_SCRATCH, help="that are trained on each (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="alternations of the two sides (%(default)s)")
    arguments = parser.parse_args()
    device = choose_device(read_params().device)
    if device.type != "cuda":
        sys.exit(f"error: a GPU for CUDA is needed, and params.yaml's device is {describe_device(device)}")
    folders = [RAW, NORMALIZED, *(Path("data/normalized", name) for name in arguments.datasets)]
    for folder in folders:
        if not folder.exists():
            sys.exit(f"error: {folder} is missing; run `dvc exp run -S dataset={folder.name}` first")
    prepare_process()
    params = params_for_mnist()
    sections: list[Callable[[], list[str]]] = [
        lambda: recipes_section(arguments.datasets, arguments.models, device),
        lambda: precision_section(params, device, arguments.rounds),
        partial(training_sections, params, device, arguments.rounds),
    ]
    lines: list[str] = []
    for section in sections:
        found = section()
        print("\n".join(found), flush=True)
        lines += found
    put_section(PAGE, GPU, lines)


def recipes_section(datasets: Sequence[str], models: Sequence[str], device: torch.device) -> list[str]:
    """The recipes of params.yaml, whole stages."""
    lines = [
        "## On a GPU\n",
        f"`python -m benchmarks.gpu`: {describe_device(device)}, {os.cpu_count()} threads of {processor_name()}, torch "
        f"{torch.__version__}. `stages.train` and `stages.evaluate` with the recipes of params.yaml, whole processes; "
        "each was trained twice, with the same bytes both times:\n",
        "| dataset | model | epochs | test accuracy, % | `train`, s | of which epochs, s | `evaluate`, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for dataset in datasets:
        for model in models:
            lines.append(recipe_row(dataset, model))
            print(lines[-1], file=sys.stderr, flush=True)
    return lines


def recipe_row(dataset: str, model: str) -> str:
    """A row; ends the program where the two trainings differ."""
    project = Path.cwd()
    params = yaml.safe_load((project / "params.yaml").read_text("utf-8")) | {"dataset": dataset, "model": model}
    normalized, environment = project / "data/normalized" / dataset, os.environ | {"PYTHONPATH": str(project)}
    environment |= {"MNISTRY_RESUME": "no"}
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        outputs = ("classifier.safetensors", "train.json", "history.csv", "validation.csv")
        command = [sys.executable, "-m", "stages.train", str(normalized), *outputs]
        for _ in range(2):
            start = time.perf_counter()
            log, _ = run_measured(command, folder, environment)
            seconds = time.perf_counter() - start
            written.append([(folder / name).read_bytes() for name in outputs])
        if written[0] != written[1]:
            sys.exit(f"error: {model} on {dataset}: the second training came out different")
        evaluate = [sys.executable, "-m", "stages.evaluate", str(normalized), "classifier.safetensors", "history.csv"]
        taken = timed(lambda: run_measured([*evaluate, "metrics", "predictions.csv", "figures"], folder, environment))
        accuracy = json.loads((folder / "metrics/test.json").read_text())["accuracy"]
        epochs = json.loads((folder / "train.json").read_text())["epochs"]
    per_epoch = float(log.rpartition(" s per epoch")[0].rpartition(" ")[2])
    return (
        f"| {dataset} | {model} | {epochs} | {100 * accuracy:.2f} | {seconds:.1f} | {per_epoch * epochs:.1f} "
        f"| {taken:.1f} |"
    )


def precision_section(params: Params, device: torch.device, rounds: int) -> list[str]:
    """Seconds of training and accuracy in either precision."""
    lines = [
        "\n### Precision\n",
        f"MNIST, the recipes of params.yaml without augmentation, training alone, seeds: {rounds}, medians:\n",
        "| model | float32, s | bfloat16, s | times faster | float32, % | bfloat16, % |",
        "|---|---|---|---|---|---|",
    ]
    for model in ("mlp", "cnn", "resnet"):
        recipe, cells = getattr(params.models, model), []
        for precision in (torch.float32, torch.bfloat16):
            runs = [our_training(model, recipe, device, seed, precision=precision) for seed in range(rounds)]
            cells.append((median(run[0] for run in runs), 100 * median(run[1] for run in runs)))
        (slow, exact), (fast, rounded) = cells
        lines.append(f"| {model} | {slow:.2f} | {fast:.2f} | {slow / fast:.2f} | {exact:.2f} | {rounded:.2f} |")
    return lines


def training_sections(params: Params, device: torch.device, rounds: int) -> list[str]:
    """Those of `benchmarks.training`, a level deeper."""
    with ProcessPoolExecutor(1, get_context("spawn")) as their_process:
        lines = ["", *tutorials_section(params, device, rounds, 1.0, their_process)]
    lines += scaling_section(params, device, rounds) + inference_section(params, device, rounds)
    return [line.replace("## ", "### ", 1) for line in lines]


if __name__ == "__main__":
    main()
