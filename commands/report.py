"""One page with all charts and figures, which needs no network: `python -m commands.report`, or `make report`."""

import argparse
import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

from commands import run_command
from src.errors import MnistryError

TEMPLATE = Path(".dvc/tmp/plots_page.html")
"""Temporary, and ignored by Git: it holds Vega's own code."""
FOLDER = Path("dvc_plots")
VEGA_LITE = "5.20"
"""DVC's charts are written for version 5."""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
{refresh_tag}
<title>mnistry</title>
<style>
body { background: white; color: black; font-family: sans-serif; margin: 1rem; }
img { max-width: 100%; height: auto; }
table { border-spacing: 15px; }
</style>
<script>SCRIPT</script>
</head>
<body>
CHARTS
{plot_divs}
</body>
</html>
"""
CHARTS = "<!-- charts -->"
"""Precedes them: Vega's own code holds much that looks like a page."""
DATA = "var spec = "
"""Precedes each chart's data, which are JSON."""


def main() -> int:
    """Have DVC draw the page."""
    parser = argparse.ArgumentParser(prog="python -m commands.report", description="Draw all charts and figures.")
    parser.add_argument("revisions", nargs="*", metavar="REVISION", help="to compare with the workspace, such as main")
    revisions = parser.parse_args().revisions
    # The package carries all of Vega; nothing else here needs it.
    import vl_convert

    TEMPLATE.parent.mkdir(parents=True, exist_ok=True)
    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]  # its stub lacks defaults
    TEMPLATE.write_text(PAGE.replace("CHARTS", CHARTS).replace("SCRIPT", bundle), "utf-8")
    verb = "diff" if revisions else "show"
    command = ["dvc", "plots", verb, *revisions, "--html-template", str(TEMPLATE), "--out", str(FOLDER)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    TEMPLATE.unlink()
    if result.returncode:
        raise MnistryError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
    page = FOLDER / "index.html"
    page.write_text(inline_figures(escape_data(page.read_text("utf-8")), FOLDER), "utf-8")
    shutil.rmtree(FOLDER / "static", ignore_errors=True)
    print(f"{page.resolve()}: open it in a browser")
    return 0


def escape_data(page: str) -> str:
    """The page with `</` escaped in the charts' data: a class name could end the script that it is part of."""
    start = page.index(CHARTS)
    parts = [page[:start]]
    while (found := page.find(DATA, start)) >= 0:
        found += len(DATA)
        _, end = json.JSONDecoder().raw_decode(page, found)
        parts += [page[start:found], page[found:end].replace("</", "<\\/")]
        start = end
    return "".join(parts) + page[start:]


def inline_figures(page: str, folder: Path) -> str:
    """The page with the PNG files next to it inside it, so that it can be sent or moved as one file."""

    def inlined(tag: re.Match[str]) -> str:
        figure = folder / tag[1]
        content = base64.b64encode(figure.read_bytes()).decode()
        return f'<img alt="{figure.stem}" src="data:image/png;base64,{content}">'

    return re.sub(r'<img src="(static/[^"]+)">', inlined, page)


if __name__ == "__main__":
    run_command(main)
