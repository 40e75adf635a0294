"""Train every model on every dataset over several seeds, through DVC, and write the README's table.

Each run is `dvc exp run` in a temporary clone of HEAD that shares this project's cache: the workspace stays as it is,
and after an interruption, finished runs come from the cache. Accuracy is the last epoch's, on the test split.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

SETTINGS = {"fashion_mnist": {"augment.shift": "0", "augment.flip": "true"}}
"""What differs from params.yaml's recipes, for each model: clothes keep their class in a mirror, and are centred."""

START, END = "<!-- results -->\n", "<!-- end of results -->"


def main() -> None:
    """Run all, printing each row as it comes, then replace the table between the README's marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--datasets", nargs="+", default=["digits", "mnist", "fashion_mnist"])
    parser.add_argument("--models", nargs="+", default=["linear", "mlp", "cnn", "resnet"])
    arguments = parser.parse_args()
    commit = output_of("git", "rev-parse", "--short", "HEAD").strip()
    cache = Path(output_of("dvc", "cache", "dir").strip()).resolve()
    rows = ["| dataset | model | parameters | test accuracy, % | training, s |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as clone:
        output_of("git", "clone", "--quiet", ".", clone)
        output_of("dvc", "cache", "dir", "--local", str(cache), folder=clone)
        for dataset in arguments.datasets:
            for model in arguments.models:
                runs = [train_once(clone, dataset, model, seed) for seed in range(arguments.seeds)]
                rows.append(table_row(dataset, model, runs))
                print(rows[-1], flush=True)
    rows.append(f"\n{arguments.seeds} seeds, mean ± standard deviation; commit {commit}.")
    rows += [
        f"{dataset}: with {' '.join(f'`-S models.<model>.{name}={value}`' for name, value in settings.items())}."
        for dataset, settings in SETTINGS.items()
        if dataset in arguments.datasets
    ]
    readme = Path("README.md")
    before, _, rest = readme.read_text("utf-8").partition(START)
    readme.write_text(before + START + "\n".join(rows) + "\n" + END + rest.partition(END)[2], "utf-8")


@dataclass(frozen=True)
class Run:
    """What one training came to: test accuracy in percent, number of parameters, seconds."""

    accuracy: float
    parameters: int
    seconds: float | None


def train_once(clone: str, dataset: str, model: str, seed: int) -> Run:
    """Train in the clone.

    The seconds are those of the epochs without validation, from the log; None where the run came from the cache.
    """
    settings = {"dataset": dataset, "model": model, "seed": str(seed)}
    settings |= {f"models.{model}.{name}": value for name, value in SETTINGS.get(dataset, {}).items()}
    log = output_of("dvc", "exp", "run", *(f"--set-param={k}={v}" for k, v in settings.items()), folder=clone)
    images = re.search(r"(\d+) training and", log)
    rates = [float(rate.replace(",", "")) for rate in re.findall(r"([\d,]+) images/s", log)]
    return Run(
        accuracy=json.loads(Path(clone, "metrics/test.json").read_text())["accuracy"] * 100,
        parameters=json.loads(Path(clone, "metrics/train.json").read_text())["parameters"],
        seconds=sum(int(images[1]) / rate for rate in rates) if images else None,
    )


def table_row(dataset: str, model: str, runs: list[Run]) -> str:
    """A row of the README's table: the accuracy's mean and standard deviation, the median of the seconds."""
    accuracies = [run.accuracy for run in runs]
    spread = f" ± {stdev(accuracies):.2f}" if len(runs) > 1 else ""
    seconds = [run.seconds for run in runs if run.seconds is not None]
    time = f"{median(seconds):.1f}" if seconds else "cached"
    return f"| {dataset} | {model} | {runs[0].parameters:,} | {mean(accuracies):.2f}{spread} | {time} |"


def output_of(*command: str, folder: str = ".") -> str:
    """What the command printed; ends the program with that where it fails."""
    result = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode:
        sys.exit(f"error: {' '.join(command)} failed:\n{result.stdout}")
    return result.stdout


if __name__ == "__main__":
    main()
