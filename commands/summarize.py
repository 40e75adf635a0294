"""Groups of experiments, with mean, spread and the difference from the best: `python -m commands.summarize`."""

import argparse
import textwrap
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from commands import figure_file, run_command, warn
from src.errors import MnistryError

if TYPE_CHECKING:
    from src.summaries import Summary

START, END = "<!-- results -->\n", "<!-- end of results -->"
"""Between them, `--into FILE` puts the table."""


def main() -> int:
    """0 where there was something to summarize."""
    arguments = parse_arguments()
    # DVC and SciPy take a second to import: `--help` doesn't wait for them.
    from src.experiments import read_experiments
    from src.summaries import find_metric, markdown_table, summarize

    runs, others = read_experiments(arguments.rev, arguments.num, arguments.all_commits)
    chosen = [run for run in runs if any(fnmatchcase(run.name, pattern) for pattern in arguments.names or "*")]
    for words in others:
        warn(words, "left out")
    if not chosen:
        raise MnistryError(
            f"none of {len(runs)} finished experiments is meant; `dvc exp list` names those of HEAD, "
            "--all-commits takes those of every commit"
        )
    summaries = summarize(chosen, find_metric(arguments.metric, chosen))
    for summary in summaries:
        for words in summary.left_out:
            warn(words, "left out")
    summaries = [summary for summary in summaries if summary.groups]
    if arguments.into:
        put_table(arguments.into, markdown_table(summaries))
    elif arguments.markdown:
        print("\n".join(markdown_table(summaries)))
    else:
        show(summaries)
    if arguments.figure:
        save_figure(summaries, arguments.figure)
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line's; a wrong one ends with its usage and status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.summarize", description="Group experiments by all params but the seed."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments, such as 'cnn-*' (all)")
    parser.add_argument("--metric", default="accuracy", metavar="NAME", help="of metrics/ (%(default)s)")
    parser.add_argument(
        "--validation",
        action="store_true",
        help="that metric on images held out of training, to choose; not the test's",
    )
    parser.add_argument(
        "--rev", action="append", default=[], metavar="REV", help="those that started from this commit (HEAD)"
    )
    parser.add_argument("-n", "--num", type=int, default=1, metavar="N", help="and from the N - 1 commits before it")
    parser.add_argument("-A", "--all-commits", action="store_true", help="those of every commit")
    parser.add_argument("--markdown", action="store_true", help="print a table in Markdown")
    parser.add_argument("--into", type=Path, metavar="FILE", help="put that table between the marks in FILE")
    parser.add_argument("--figure", type=figure_file, metavar="FILE", help="draw intervals and learning curves")
    parsed = parser.parse_args()
    if parsed.validation and not parsed.metric.startswith("validation_"):
        parsed.metric = f"validation_{parsed.metric}"
    return parsed


def show(summaries: "list[Summary]") -> None:
    """Print a table per dataset."""
    from src.summaries import choice_note, difference_words, spread, title

    for number, summary in enumerate(summaries):
        rows = [("", "n", title(summary.metric), "difference from the best, 95 %")]
        for group in summary.groups:
            best = summary.groups[0]
            words = difference_words(group, best, summary.metric)
            rows.append((group.name, str(len(group.values)), spread(group, summary.metric), words))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        print(("\n" if number else "") + summary.groups[0].dataset)
        for name, n, mean, difference in rows:
            print(f"  {name:{widths[0]}}  {n:>{widths[1]}}  {mean:{widths[2]}}  {difference}")
        if note := choice_note(summary):
            print(textwrap.fill(f"({note})", 80, initial_indent="  ", subsequent_indent="  "))


def put_table(path: Path, lines: list[str]) -> None:
    """Put the table between the file's marks; raises MnistryError where they are missing."""
    before, start, rest = path.read_text("utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise MnistryError(f"{path}: expected a line {START.strip()!r} and after it a line {END!r}")
    path.write_text("".join([before, start, "\n".join(lines), "\n", end, after]), "utf-8")


def save_figure(summaries: "list[Summary]", path: Path) -> None:
    """Draw the groups' intervals and learning curves."""
    from src.experiments import read_history
    from src.plots.base import save
    from src.plots.summary import summary_figure

    runs = [run for summary in summaries for group in summary.groups for run in group.runs]
    save(summary_figure(summaries, {run.revision: read_history(run.revision) for run in runs}), path)


if __name__ == "__main__":
    run_command(main)
