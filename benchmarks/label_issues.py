"""How well `audit` finds labels that were changed at random: `python -m benchmarks.label_issues`.

Of 5 % of the training labels, each is changed to another class; 5 folds are trained by `stages.train` as they are in an
experiment. The labels of the datasets count as right, though some are not: the precision is a little higher.
"""

import argparse
import contextlib
import gc
import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from src.comparison import read_predictions
from src.datasets import load_files, load_info, load_split, save_files, save_info, write_split
from src.label_issues import find_label_issues, join_predictions
from stages import download, normalize, train

PROJECT = Path(__file__).parent.parent
NOISE = 0.05
FOLDS = 5
MODELS = ("linear", "mlp", "cnn")
CASES: dict[Path, tuple[int | None, tuple[str, ...]]] = {
    PROJECT / "data/sources/digits": (None, MODELS),
    PROJECT / "data/sources/mnist": (5000, MODELS),
}
"""For each dataset's source, how many of its training images are taken, and the models that judge them."""


def main() -> None:
    """Print the table in Markdown: means over the seeds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_issues", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="that draw the labels and all else (%(default)s)")
    parser.add_argument("--images", type=Path, help="a folder of your own images, in place of the datasets")
    parser.add_argument("--models", nargs="+", default=MODELS, help="that judge those (%(default)s)")
    arguments = parser.parse_args()
    seeds, cases = arguments.seeds, CASES
    if arguments.images:
        cases = {arguments.images.resolve(): (None, tuple(arguments.models))}
    print("| dataset | model | labels | changed | said to be wrong | precision | recall |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for source, (count, models) in cases.items():
        measured = [measure(source, count, models, seed) for seed in range(seeds)]
        for number, model in enumerate(models):
            labels, changed, issues, precision, recall = np.mean([each[number] for each in measured], axis=0)
            counts = f"{labels:,.0f} | {changed:.0f} | {issues:.0f}"
            print(f"| {source.name} | {model} | {counts} | {precision:.0%} | {recall:.0%} |", flush=True)
    # What training froze would be listed as leaks at exit.
    gc.unfreeze()


def measure(source: Path, count: int | None, models: Sequence[str], seed: int) -> list[tuple[float, ...]]:
    """For each model: the numbers of labels, of those changed, and of issues; precision; recall."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text("utf-8")) | {"seed": seed}
    results: list[tuple[float, ...]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        labels, changed = prepare(source, count, params, np.random.default_rng(seed))
        for model in models:
            issues = audit(params | {"model": model})
            found = np.isin(issues, changed)
            results.append((labels, len(changed), len(issues), found.mean(), found.sum() / len(changed)))
    return results


def prepare(
    source: Path, count: int | None, params: Mapping[str, Any], draw: np.random.Generator
) -> tuple[int, np.ndarray]:
    """Write `normalized/` into the current folder, with wrong labels; how many labels, and the indices of wrong ones.

    count: of the training images that are taken; None takes all.
    """
    Path("params.yaml").write_text(yaml.safe_dump(dict(params)))
    whole = Path("whole")
    with contextlib.redirect_stdout(io.StringIO()):
        download.main(source, Path("raw"))
        normalize.main(Path("raw"), whole, Path("dataset.json"), Path("figures"))
    info = load_info(whole)
    images, labels = load_split(whole, "train", info)
    files = list(load_files(whole, "train", len(labels)))[:count]
    images, labels = images[:count], labels[:count].copy()
    changed = draw.choice(len(labels), round(NOISE * len(labels)), replace=False)
    classes = len(info.class_names)
    labels[changed] = (labels[changed] + draw.integers(1, classes, len(changed))) % classes
    folder = Path("normalized")
    folder.mkdir()
    sha256 = write_split(folder, "train", [images], labels, info.shape)
    save_files(folder, "train", files)
    save_info(folder, replace(info, sha256={"train": sha256}))
    return len(labels), np.asarray(changed)


def audit(params: Mapping[str, Any]) -> np.ndarray:
    """The indices of the labels that are said to be wrong, int64, the surest first."""
    parts = []
    for fold in range(FOLDS):
        options = params["train"] | {"folds": FOLDS, "fold": fold}
        Path("params.yaml").write_text(yaml.safe_dump(dict(params) | {"train": options}))
        outputs = [Path(name) for name in ("c.safetensors", "train.json", "history.csv", "validation.csv")]
        with contextlib.redirect_stdout(io.StringIO()):
            train.main(Path("normalized"), *outputs)
        parts.append(read_predictions(outputs[-1].read_text("utf-8"), f"fold {fold}"))
    predictions = join_predictions(parts)
    return np.asarray(predictions.images[find_label_issues(predictions)])


if __name__ == "__main__":
    main()
