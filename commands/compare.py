"""Whether one classifier is better than another, and how sure that is: `python -m commands.compare HEAD cnn-seed0`."""

import argparse
import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from commands import figure_file, run_command
from src.errors import MnistryError

if TYPE_CHECKING:
    from src.comparison import Comparison, Predictions
    from src.revisions import Revision

PREDICTIONS = "data/predictions.csv"
WORKSPACE = "workspace"
METRICS = {"accuracy": "accuracy", "log_loss": "log loss, nats", "macro_f1": "macro F1"}


def main() -> int:
    """0 where both could be compared."""
    arguments = parse_arguments()
    # DVC and SciPy take a second to import: `--help` doesn't wait for them.
    from src.comparison import compare_predictions
    from src.revisions import Revision

    first, second = (Revision(name) for name in arguments.revisions)
    pair = load_pair(first, second, PREDICTIONS)
    comparison = compare_predictions(*pair, seed=arguments.seed)
    show(comparison, first.name, second.name, arguments.json)
    if arguments.figure:
        save_disagreements(second, pair, (first.name, second.name), arguments.figure)
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line's; a wrong one ends with its usage and status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.compare", description="Compare two classifiers on the same test images."
    )
    parser.add_argument(
        "revisions", nargs="*", metavar="REV", help=f"Git revisions, experiments or {WORKSPACE} (HEAD {WORKSPACE})"
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


def load_pair(first: "Revision", second: "Revision", path: str) -> "tuple[Predictions, Predictions]":
    """Both revisions' predictions in `path`; raises MnistryError where they are not for the same images."""
    from src.comparison import describe_mismatch, read_predictions

    pair = tuple(read_predictions(each.read_text(path), f"{each.name}: {path}") for each in (first, second))
    digests = [each.split_sha256() for each in (first, second)]
    difference = describe_mismatch(*pair)
    if not difference and digests[0] != digests[1] and None not in digests:
        difference = "the same files and labels, but other pixels: the images' size or decoding has changed"
    if difference:
        versions = " and ".join(
            f"{each.name} has {each.dataset} (SHA-256 {(digest or 'unknown')[:12]})"
            for each, digest in zip((first, second), digests, strict=True)
        )
        raise MnistryError(f"the test splits differ: {difference}; {versions}; compare two with the same test images")
    return pair[0], pair[1]


def show(comparison: "Comparison", first: str, second: str, as_json: bool) -> None:
    """Print a table and the verdict, or all of it as JSON."""
    from src.comparison import verdict

    sentence = verdict(comparison, first, second)
    if as_json:
        differences = {name: {"difference": getattr(comparison, name).value} for name in METRICS}
        content = asdict(comparison)
        for name, value in differences.items():
            content[name] |= value
        print(json.dumps({"revisions": [first, second], **content, "verdict": sentence}, indent=2))
        return
    width = max(len(first), len(second), 9)
    print(f"{'':14}  {first:>{width}}  {second:>{width}}  difference  95 % interval")
    for name, title in METRICS.items():
        row = getattr(comparison, name)
        print(
            f"{title:14}  {row.first:{width}.4f}  {row.second:{width}.4f}  {row.value:+10.4f}  "
            f"{row.low:+.4f} to {row.high:+.4f}"
        )
    print(
        f"of {comparison.images:,} test images, {comparison.only_first:,} are right in {first} alone, "
        f"{comparison.only_second:,} in {second} alone"
    )
    print(f"exact McNemar test: p = {comparison.p:.2g}\n")
    print(textwrap.fill(sentence, 80))


def save_disagreements(
    revision: "Revision", pair: "tuple[Predictions, Predictions]", names: tuple[str, str], path: Path
) -> None:
    """Draw the images, as the revision's dataset has them, on which the two disagree; nothing where there is none."""
    from src.plots.base import save
    from src.plots.comparison import disagreements, disagreements_figure

    indices = disagreements(*pair)
    if not len(indices):
        print("they agree on all images: no figure was drawn")
        return
    save(disagreements_figure(revision.read_images("test"), *pair, names, indices), path)


if __name__ == "__main__":
    run_command(main)
