"""Labels of training images that are probably wrong: `python -m commands.audit`."""

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from commands import count, figure_file, run_command, warn
from src.errors import MnistryError

if TYPE_CHECKING:
    import numpy as np

    from src.comparison import Predictions
    from src.revisions import Revision

VALIDATION = "data/validation.csv"


def main() -> int:
    """0 where the labels could be judged."""
    arguments = parse_arguments()
    # DVC and SciPy take a second to import: `--help` doesn't wait for them.
    from src.comparison import read_predictions
    from src.csv_files import write_csv
    from src.experiments import read_experiments
    from src.label_issues import COLUMNS, choose_folds, find_label_issues, issue_rows, join_predictions
    from src.revisions import Revision
    from src.sources.listing import CORRECTIONS

    if arguments.csv and arguments.csv.name == CORRECTIONS and arguments.csv.exists():
        raise MnistryError(f"{arguments.csv}: it may hold corrections of before; write another file, and add its rows")
    runs, _ = read_experiments(arguments.rev, all_commits=arguments.all_commits)
    folds = choose_folds([run for run in runs if any(fnmatchcase(run.name, each) for each in arguments.names or "*")])
    if folds.missing:
        few = ", ".join(map(str, folds.missing))
        warn(f"of {folds.count} folds, there are no experiments of {few}: their images are not judged")
    chosen = [folds.runs[fold] for fold in sorted(folds.runs)]
    texts = ((run, Revision(run.revision).read_text(VALIDATION)) for run in chosen)
    predictions = join_predictions([read_predictions(text, f"{run.name}: {VALIDATION}") for run, text in texts])
    issues = find_label_issues(predictions)
    print(f"by {folds.describe()}, {len(issues):,} of {len(predictions.files):,} labels are probably wrong")
    show(predictions, issues[: arguments.top])
    if arguments.csv:
        write_csv(arguments.csv, issue_rows(predictions, issues, arguments.label), COLUMNS)
    if arguments.figure:
        save_figure(Revision(chosen[0].revision), predictions, issues, arguments.figure)
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line's; a wrong one ends with its usage and status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.audit",
        description="Find labels that are probably wrong, from experiments that held out one fold each.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments, such as 'cnn-*' (all with folds)")
    parser.add_argument(
        "--rev", action="append", default=[], metavar="REV", help="those that started from this commit (HEAD)"
    )
    parser.add_argument("-A", "--all-commits", action="store_true", help="those of every commit")
    parser.add_argument("--top", type=count, default=20, metavar="N", help="labels to print (%(default)s)")
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="write all as a table to go through: corrected_labels.csv of the dataset",
    )
    parser.add_argument(
        "--label",
        choices=("given", "suggested", "none"),
        default="given",
        help="what the table's column `label` begins with; none leaves the images out (%(default)s)",
    )
    parser.add_argument(
        "--figure", type=figure_file, metavar="FILE", help="draw the images of the surest (.png or .jpg)"
    )
    return parser.parse_args()


def show(predictions: "Predictions", issues: "np.ndarray") -> None:
    """Print a line for each issue, the surest first."""
    from src.errors import one_line

    if not len(issues):
        return
    lines = [("label", "", "suggested", "", "file")]
    for i in issues:
        label, suggested, file = (
            one_line(each[i]) for each in (predictions.actual, predictions.predicted, predictions.files)
        )
        lines.append(
            (label, f"{predictions.probability_of_actual[i]:.1%}", suggested, f"{predictions.probability[i]:.1%}", file)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for label, low, suggested, high, file in lines:
        print(f"  {label:{widths[0]}}  {low:>{widths[1]}}  {suggested:{widths[2]}}  {high:>{widths[3]}}  {file}")


def save_figure(revision: "Revision", predictions: "Predictions", issues: "np.ndarray", path: Path) -> None:
    """Draw the images, as the revision's dataset has them; nothing where there is no issue."""
    from src.plots.base import save
    from src.plots.label_issues import label_issues_figure

    if not len(issues):
        print("no label is probably wrong: no figure was drawn")
        return
    save(label_issues_figure(revision.read_images("train"), predictions, issues), path)


if __name__ == "__main__":
    run_command(main)
