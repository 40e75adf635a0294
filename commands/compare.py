"""Whether one classifier is better than another, and how sure that is: `python -m commands.compare HEAD cnn-seed0`."""

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from commands import figure_file, run_command, warn
from src.errors import MnistryError

if TYPE_CHECKING:
    from src.comparison import Comparison, Predictions
    from src.revisions import Revision

PREDICTIONS = {"test": "data/predictions.csv", "validation": "data/validation.csv"}
"""By the split that the images are of, or that they were held out for."""
WORKSPACE = "workspace"
METRICS = {"accuracy": "accuracy", "log_loss": "log loss, nats", "macro_f1": "macro F1"}


def main() -> int:
    """0 where both could be compared."""
    arguments = parse_arguments()
    # DVC and SciPy take a second to import: `--help` doesn't wait for them.
    from src.comparison import compare_predictions
    from src.revisions import Revision

    first, second = (Revision(name) for name in arguments.revisions)
    split = "validation" if arguments.validation else "test"
    pair = load_pair(first, second, split)
    comparison = compare_predictions(*pair, seed=arguments.seed)
    show(comparison, (first.name, second.name), split, arguments.json)
    if arguments.figure:
        save_disagreements(second, pair, split, (first.name, second.name), arguments.figure)
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line's; a wrong one ends with its usage and status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.compare", description="Compare two classifiers on the same images."
    )
    parser.add_argument(
        "revisions", nargs="*", metavar="REV", help=f"Git revisions, experiments or {WORKSPACE} (HEAD {WORKSPACE})"
    )
    parser.add_argument(
        "--validation",
        action="store_true",
        help="on images held out of the training split, to choose; not on the test's",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument(
        "--figure", type=figure_file, metavar="FILE", help="draw the images on which they disagree (.png or .jpg)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="draws the bootstrap's resamples (0)")
    parsed = parser.parse_args()
    if len(parsed.revisions) > 2:
        parser.error(f"{len(parsed.revisions)} revisions; expected two at most")
    if parsed.seed < 0:
        parser.error(f"--seed: {parsed.seed} is below 0")
    parsed.revisions += ["HEAD", WORKSPACE][len(parsed.revisions) :]
    return parsed


def load_pair(first: "Revision", second: "Revision", split: str) -> "tuple[Predictions, Predictions]":
    """Both revisions' predictions for the images of the split; raises MnistryError where those are not the same.

    Of validation images, other seeds and folds hold out others: those that both held out are compared.
    """
    from src.comparison import describe_mismatch, in_both, read_predictions

    path = PREDICTIONS[split]
    ours, theirs = (read_predictions(each.read_text(path), f"{each.name}: {path}") for each in (first, second))
    if split == "test":
        require_same_images(first, second, ("test",), describe_mismatch(ours, theirs))
        return ours, theirs
    pair = in_both(ours, theirs)
    require_same_images(first, second, ("train", "validation"), describe_mismatch(*pair))
    count, counts = len(pair[0].files), (len(ours.files), len(theirs.files))
    if not count:
        raise MnistryError(
            f"{first.name} held out {counts[0]:,} images, {second.name} {counts[1]:,}, and none is in both; compare "
            "runs of the same seed and fold, or means over them by `python -m commands.summarize --validation`"
        )
    if set(counts) != {count}:
        warn(f"{first.name} held out {counts[0]:,} images, {second.name} {counts[1]:,}; compared on {count:,} in both")
    return pair


def require_same_images(first: "Revision", second: "Revision", splits: Sequence[str], difference: str | None) -> None:
    """Raise MnistryError where there is a difference, in words, or the splits' SHA-256 are not the same."""
    digests = [[each.sha256().get(split) for split in splits] for each in (first, second)]
    if not difference and digests[0] != digests[1] and all(digest for digest, *_ in digests):
        difference = (
            "the same files and labels, but other pixels: the images' size or decoding has changed"
            if len(splits) == 1
            else "other images, labels or pixels"
        )
    if difference:
        split = splits[0]
        versions = " and ".join(
            f"{each.name} has {each.dataset} (SHA-256 {(digest or 'unknown')[:12]})"
            for each, (digest, *_) in zip((first, second), digests, strict=True)
        )
        raise MnistryError(
            f"the {split} splits differ: {difference}; {versions}; compare two with the same {split} images"
        )


def show(comparison: "Comparison", revisions: tuple[str, str], split: str, as_json: bool) -> None:
    """Print a table and the verdict, or all of it as JSON."""
    from src.comparison import verdict

    first, second = revisions
    sentence = verdict(comparison, first, second, split)
    if as_json:
        differences = {name: {"difference": getattr(comparison, name).value} for name in METRICS}
        content = asdict(comparison)
        for name, value in differences.items():
            content[name] |= value
        print(json.dumps({"revisions": [first, second], "split": split, **content, "verdict": sentence}, indent=2))
        return
    width = max(len(first), len(second), 9)
    print(f"{'':14}  {first:>{width}}  {second:>{width}}  difference  95 % interval")
    for name, title in METRICS.items():
        row = getattr(comparison, name)
        print(
            f"{title:14}  {row.first:{width}.4f}  {row.second:{width}.4f}  {row.value:+10.4f}  "
            f"{row.low:+.4f} to {row.high:+.4f}"
        )
    verb = "is" if comparison.only_first == 1 else "are"
    alone = f"{comparison.only_first:,} {verb} right in {first} alone, {comparison.only_second:,} in {second} alone"
    print(textwrap.fill(f"of {comparison.images:,} {split} images, {alone}", 80))
    print(f"exact McNemar test: p = {comparison.p:.2g}\n")
    print(textwrap.fill(sentence, 80))


def save_disagreements(
    revision: "Revision", pair: "tuple[Predictions, Predictions]", split: str, names: tuple[str, str], path: Path
) -> None:
    """Draw the images, as the revision's dataset has them, on which the two disagree; nothing where there is none."""
    from src.plots.base import save
    from src.plots.comparison import disagreements, disagreements_figure

    indices = disagreements(*pair)
    if not len(indices):
        print("they agree on all images: no figure was drawn")
        return
    images = revision.read_images("test" if split == "test" else revision.held_out_of)
    save(disagreements_figure(images, *pair, names, indices), path)


if __name__ == "__main__":
    run_command(main)
