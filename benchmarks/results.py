"""Train every model on every dataset over several seeds, through DVC, and write the README's table.

Each run is `dvc exp run` in a temporary clone of HEAD that shares this project's cache: the workspace stays as it is,
and after an interruption, finished runs come from the cache. Accuracy is the last epoch's, on the test split.
"""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

from benchmarks import clone_of_head, output_of
from src.params import MODELS

DATASETS = ["digits", "mnist", "fashion_mnist"]
SETTINGS = {
    **{("digits", model): {"epochs": "50"} for model in MODELS},
    ("fashion_mnist", "mlp"): {
        "hidden_sizes": "[1024,512]",
        "learning_rate": "0.002",
        "augment.shift": "0",
        "label_smoothing": "0.1",
    },
    ("fashion_mnist", "cnn"): {
        "epochs": "16",
        "augment.flip": "true",
        "augment.cutout": "0.15",
        "label_smoothing": "0.1",
    },
    ("fashion_mnist", "resnet"): {
        "epochs": "36",
        "augment.flip": "true",
        "augment.shift": "0.04",
        "augment.cutout": "0.25",
    },
}
"""What differs from params.yaml's recipes: 1,438 images are few; clothes keep their class mirrored or half hidden."""

HEADER = [
    "| dataset | model | parameters | test accuracy, % | seeds | training, s | commit |",
    "|---|---|---|---|---|---|---|",
]
START, END = "<!-- results -->\n", "<!-- end of results -->"


def main() -> None:
    """Run all, putting each row into the README as it comes, also of fewer seeds; other models' rows stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--datasets", nargs="+", default=DATASETS)
    parser.add_argument("--models", nargs="+", default=MODELS)
    arguments = parser.parse_args()
    commit = output_of("git", "rev-parse", "--short", "HEAD").strip()
    with clone_of_head() as clone:
        for model in arguments.models:
            for dataset in arguments.datasets:
                runs = [train_once(clone, dataset, model, seed) for seed in range(arguments.seeds)]
                row = table_row(dataset, model, runs, commit)
                print(row, flush=True)
                put_row(Path("README.md"), row)


def put_row(readme: Path, row: str) -> None:
    """Put the row into the table between the README's marks, instead of its dataset's and model's row if there is."""
    before, _, rest = readme.read_text("utf-8").partition(START)
    table, _, after = rest.partition(END)
    rows = {tuple(each.split(" | ")[:2]): each for each in table.splitlines() if each.startswith("| ")}
    rows.pop(("| dataset", "model"), None)
    rows[tuple(row.split(" | ")[:2])] = row
    order = [(f"| {dataset}", model) for dataset in DATASETS for model in MODELS]
    lines = [*HEADER, *(rows[key] for key in sorted(rows, key=lambda key: order.index((key[0], key[1]))))]
    readme.write_text(before + START + "\n".join(lines) + "\n" + END + after, "utf-8")


@dataclass(frozen=True)
class Run:
    """What one training came to: test accuracy in percent, number of parameters, seconds."""

    accuracy: float
    parameters: int
    seconds: float | None


def train_once(clone: str, dataset: str, model: str, seed: int, *options: str) -> Run:
    """Train in the clone, with further options of `dvc exp run`.

    The seconds are those of the epochs without validation, from the log; None where the run came from the cache.
    """
    # The run before left its settings there.
    output_of("git", "checkout", "--quiet", "HEAD", "--", "params.yaml", folder=clone)
    settings = {"dataset": dataset, "model": model, "seed": str(seed)}
    settings |= {f"models.{model}.{name}": value for name, value in SETTINGS.get((dataset, model), {}).items()}
    changes = [f"--set-param={name}={value}" for name, value in settings.items()]
    log = output_of("dvc", "exp", "run", *changes, *options, folder=clone)
    images = re.search(r"(\d+) training and", log)
    rates = [float(rate.replace(",", "")) for rate in re.findall(r"([\d,]+) images/s", log)]
    return Run(
        accuracy=json.loads(Path(clone, "metrics/test.json").read_text())["accuracy"] * 100,
        parameters=json.loads(Path(clone, "metrics/train.json").read_text())["parameters"],
        seconds=sum(int(images[1]) / rate for rate in rates) if images else None,
    )


def table_row(dataset: str, model: str, runs: list[Run], commit: str) -> str:
    """A row of the README's table: the accuracy's mean and standard deviation, the median of the seconds."""
    accuracies = [run.accuracy for run in runs]
    spread = f" ± {stdev(accuracies):.2f}" if len(runs) > 1 else ""
    seconds = [run.seconds for run in runs if run.seconds is not None]
    cells = (
        dataset,
        model,
        f"{runs[0].parameters:,}",
        f"{mean(accuracies):.2f}{spread}",
        str(len(runs)),
        f"{median(seconds):.1f}" if seconds else "-",
        commit,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
