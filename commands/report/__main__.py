"""One page with all charts and figures, which needs no network: `python -m commands.report`, or `make report`."""

import argparse
from pathlib import Path

from commands import run_command

PAGE = Path("dvc_plots/index.html")


def main() -> int:
    """Draw the page."""
    parser = argparse.ArgumentParser(
        prog="python -m commands.report",
        description="Draw all charts and figures. Three or more seeds of the same params become one band.",
    )
    parser.add_argument(
        "revisions",
        nargs="*",
        metavar="REVISION",
        help="Git revisions or experiments; one is compared with the workspace, as by `dvc plots diff`",
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="also write the confusion matrices as Markdown, for a comment"
    )
    arguments = parser.parse_args()
    # DVC and SciPy take a second to import: `--help` doesn't wait for them.
    from commands.report.groups import group_members, read_member
    from commands.report.markdown import confusion_markdown
    from commands.report.page import CONFUSION, make_page
    from commands.report.plots import read_plots

    plots = read_plots(arguments.revisions, PAGE.parent / "static")
    groups = group_members([read_member(label) for label in plots.revisions])
    PAGE.write_text(make_page(groups, plots), "utf-8")
    plots.remove_files()
    if arguments.markdown:
        arguments.markdown.write_text(confusion_markdown(groups, plots.rows.get(CONFUSION, {})), "utf-8")
    print(f"{PAGE.resolve()}: open it in a browser")
    return 0


if __name__ == "__main__":
    run_command(main)
