"""Time to accuracy of other systems and of ours, on MNIST and FashionMNIST: a section of docs/benchmarks.md.

Whole processes, each in an environment of its own, which is made on demand under .venv-peers/ (8 GB, most of it shared
with uv's cache). In each round all systems take turns; medians are given. A process that takes longer than the limit is
stopped, and its system isn't measured again on that dataset: one round of it has to do. Needs `data/normalized/mnist`
and `data/normalized/fashion_mnist`.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from benchmarks.peers.environments import python_of
from benchmarks.peers.protocol import Evaluation
from benchmarks.peers.report import TARGETS, Point, Run, accuracy_figure, dataset_table
from benchmarks.sections import PAGE, PEERS, put_section
from src.devices import processor_name
from src.plots.base import save

FIGURE = Path("docs/peers.png")


@dataclass(frozen=True)
class System:
    """A module of `systems/`, the environment that it runs in ("" for the project's own), and its epochs.

    epochs: None for EPOCHS.
    """

    module: str
    environment: str
    epochs: int | None = None


EPOCHS = {"mnist": 2, "fashion_mnist": 3}
"""As many as ours takes to the last of the accuracies: two end just below 91 % on FashionMNIST."""

SYSTEMS = {
    "mnistry": System("mnistry", ""),
    "mnistry, float32": System("mnistry_float32", ""),
    "JAX, a jitted step per batch": System("jax_step", "jax"),
    "JAX, lax.scan": System("jax_scan", "jax"),
    "Keras 3 on JAX": System("keras_jax", "keras"),
    "fastai": System("fastai_learner", "fastai"),
    "Lightning": System("lightning_trainer", "lightning"),
    "PyTorch's example": System("pytorch_example", "pytorch"),
    "scikit-learn's MLP": System("sklearn_mlp", "sklearn", 8),
    "scikit-learn's SVC": System("sklearn_svc", "sklearn", 1),
    "LightGBM": System("lightgbm_trees", "lightgbm", 8),
}


def main() -> None:
    """Measure all and write the section and the figure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="alternations of all systems (%(default)s)")
    parser.add_argument("--limit", type=float, default=40, help="seconds that a process may take (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round of at most 10 seconds each")
    arguments = parser.parse_args()
    for dataset in TARGETS:
        if not Path(f"data/normalized/{dataset}").exists():
            sys.exit(f"error: data/normalized/{dataset} is missing; run `dvc exp run -S dataset={dataset}` first")
    rounds, limit = (1, 10) if arguments.quick else (arguments.rounds, arguments.limit)
    results = measure(rounds, limit)
    put_section(PAGE, PEERS, section(results, limit))
    save(accuracy_figure(results), FIGURE)


def measure(rounds: int, limit: float) -> dict[str, dict[str, list[Run]]]:
    """For each dataset, the runs of each system by its name."""
    pythons = {name: python_of(system.environment) for name, system in SYSTEMS.items()}
    results: dict[str, dict[str, list[Run]]] = {dataset: {name: [] for name in SYSTEMS} for dataset in TARGETS}
    for number in range(rounds):
        for dataset, systems in results.items():
            for name, runs in systems.items():
                if any(run.stopped for run in runs):
                    continue
                run = run_system(pythons[name], SYSTEMS[name], dataset, number, limit)
                highest = max((point.accuracy for point in run.points), default=0.0)
                print(f"round {number + 1}, {dataset}, {name}: {highest:.2f} %", flush=True)
                runs.append(run)
    return results


def run_system(python: str, system: System, dataset: str, seed: int, limit: float) -> Run:
    """One process, stopped after that many seconds; ends the program with what it printed where it fails."""
    command = [python, "-m", f"benchmarks.peers.systems.{system.module}", f"data/normalized/{dataset}"]
    command += [f"--epochs={system.epochs or EPOCHS[dataset]}", f"--seed={seed}"]
    points, compile_seconds = [], 0.0
    with tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            timer = Timer(limit, process.kill)
            timer.start()
            assert process.stdout is not None
            for line in process.stdout:
                if found := Evaluation.from_line(line):
                    points.append(Point(found.seconds, time.perf_counter() - start, found.accuracy * 100))
                    compile_seconds = found.compile_seconds
        stopped = not timer.is_alive()
        timer.cancel()
        errors.seek(0)
        if process.returncode and not stopped:
            sys.exit(f"error: {' '.join(command)} failed:\n{errors.read()}")
    return Run(tuple(points), compile_seconds, stopped)


def section(results: dict[str, dict[str, list[Run]]], limit: float) -> list[str]:
    """The lines of docs/benchmarks.md."""
    lines = [
        "## Peers\n",
        f"`python -m benchmarks.peers`: {processor_name()}, medians over the rounds, in which the systems take turns; "
        f"a process was stopped after {limit:g} s and its system not measured again. Each cell gives seconds until the "
        "test accuracy was first found: of training alone, without compiling and evaluating, and of the whole process "
        "from its start, with imports, compiling and all evaluations, four per epoch. All but the last four train the "
        "same network, 3x3 convolutions of 16, 64 and 128 channels, by Adam in one cycle up to a rate of 0.01, in "
        f"batches of 128 without augmentation, for {EPOCHS['mnist']} epochs, on FashionMNIST for "
        f"{EPOCHS['fashion_mnist']}; rate and epochs were found by trials of ours on the test split: they are about "
        "speed alone. PyTorch's example trains its own network in its own way for as many epochs. scikit-learn's SVC "
        "sees 50 principal components.\n",
        f"![Accuracy against seconds]({FIGURE.name})\n",
    ]
    for dataset, systems in results.items():
        lines += [*dataset_table(dataset, systems), ""]
    return lines


if __name__ == "__main__":
    main()
