"""Other systems' own way with few photographs, next to ours: a section of docs/benchmarks.md.

`python -m benchmarks.peers.photographs data/normalized/photos`. All start from EfficientNet-Lite0 with the same weights
and train on the same images, a twentieth held out; otherwise each goes by its own defaults. Whole processes of one
thread, one at a time, each in an environment of its own, made on demand under .venv-peers/. Takes an hour for each
1,000 images and seed.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from benchmarks.memory import peak_bytes, run_measured
from benchmarks.peers.environments import python_of
from benchmarks.peers.protocol import Evaluation
from benchmarks.sections import PAGE, PHOTOGRAPHS, put_section
from commands import count
from src.devices import processor_name


@dataclass(frozen=True)
class System:
    """A module of `systems/`, the environment that it runs in ("" for the project's own), and its epochs."""

    module: str
    environment: str
    epochs: int


ENVIRONMENT = "photographs"
SYSTEMS = {
    "mnistry, `trained: head`": System("mnistry_head", "", 30),
    "mnistry, `trained: all`": System("mnistry_all", "", 10),
    "fastai, frozen": System("fastai_frozen", ENVIRONMENT, 10),
    "fastai, `fine_tune`": System("fastai_photographs", ENVIRONMENT, 10),
    "timm's script": System("timm_photographs", ENVIRONMENT, 10),
}


@dataclass(frozen=True)
class Training:
    """One process. accuracy: on the test split, in %. processor, wall: seconds. peak: bytes of memory."""

    accuracy: float
    processor: float
    wall: float
    peak: int


def main() -> None:
    """Measure all and write the section."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.photographs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="a normalized dataset of photographs")
    parser.add_argument("--seeds", type=count, default=1, help="trainings of each system (%(default)s)")
    modules = [system.module for system in SYSTEMS.values()]
    parser.add_argument("--only", nargs="+", choices=modules, help="print the table of these; the page stays as it is")
    arguments = parser.parse_args()
    if not (arguments.folder / "dataset.json").exists():
        sys.exit(f"error: {arguments.folder}: not a normalized dataset; run `dvc exp run -S dataset=<name>` first")
    chosen = {name: each for name, each in SYSTEMS.items() if each.module in (arguments.only or modules)}
    results = measure(chosen, arguments.folder, arguments.seeds)
    if arguments.only:
        print("\n".join(table(results)))
    else:
        put_section(PAGE, PHOTOGRAPHS, section(results, arguments.folder))


def measure(systems: dict[str, System], folder: Path, seeds: int) -> dict[str, list[Training]]:
    """The trainings of each system, one per seed, by its name; the systems take turns."""
    pythons = {name: python_of(system.environment) for name, system in systems.items()}
    results: dict[str, list[Training]] = {name: [] for name in systems}
    for seed in range(seeds):
        for name, system in systems.items():
            command = [pythons[name], "-m", f"benchmarks.peers.systems.{system.module}", str(folder)]
            training = run(["env", "OMP_NUM_THREADS=1", *command, f"--epochs={system.epochs}", f"--seed={seed}"])
            print(f"seed {seed}, {name}: {training}", flush=True)
            results[name].append(training)
    return results


def run(command: Sequence[str]) -> Training:
    """One process; ends the program where it fails or doesn't evaluate."""
    start = time.perf_counter()
    output, usage = run_measured(command)
    wall = time.perf_counter() - start
    found = [each for line in output.splitlines() if (each := Evaluation.from_line(line))]
    if not found:
        sys.exit(f"error: {' '.join(command)} printed no accuracy:\n{output}")
    return Training(found[-1].accuracy * 100, usage.ru_utime + usage.ru_stime, wall, peak_bytes(usage))


def table(results: dict[str, list[Training]]) -> list[str]:
    """A row per system: means over the seeds, and the highest peak."""
    lines = [
        "| system | epochs | test accuracy, % | seeds | s of the processor | s | peak memory, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, trainings in results.items():
        accuracies = [each.accuracy for each in trainings]
        spread = f" ± {stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
        processor, wall = (mean(getattr(each, clock) for each in trainings) for clock in ("processor", "wall"))
        lines.append(
            f"| {name} | {SYSTEMS[name].epochs} | {mean(accuracies):.2f}{spread} | {len(trainings)} "
            f"| {processor:,.0f} | {wall:,.0f} | {max(each.peak for each in trainings) / 1e6:,.0f} |"
        )
    return lines


def section(results: dict[str, list[Training]], folder: Path) -> list[str]:
    """The lines of docs/benchmarks.md."""
    return [
        "## Peers on few photographs\n",
        f"`python -m benchmarks.peers.photographs {folder}`: one thread of {processor_name()}. Whole processes, from "
        "imports to the accuracy on the test split. All start from EfficientNet-Lite0 with the same weights, on the "
        "same images, enlarged to 160x160, of which a twentieth is held out. Otherwise each goes by its own defaults: "
        "fastai's `vision_learner` with `aug_transforms`, frozen (`fit_one_cycle`) or, after one frozen epoch, as a "
        "whole (`fine_tune`); what timm's training script does (SGD, cosine, `create_transform`, smoothed labels), "
        "but in batches of 32 and with a tenth of the steps as the warm-up; ours by params.yaml's recipe, which "
        "was found on photographs of this kind. No peer was tuned: their defaults are meant for more images or more "
        "epochs ([log.md](log.md)).\n",
        *table(results),
    ]


if __name__ == "__main__":
    main()
