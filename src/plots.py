"""One page with all charts and pictures, which needs no network: `python -m src.plots`, or `make plots`."""

import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

from src.commands import run_command
from src.errors import MnistryError

TEMPLATE = Path(".dvc/tmp/plots_page.html")
"""Passing, and ignored by Git, for it holds Vega's own code."""
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
{plot_divs}
</body>
</html>
"""


def main() -> int:
    """Have DVC draw the page, with arguments of `dvc plots show` such as revisions passed on."""
    # The package carries all of Vega; nothing else here needs it.
    import vl_convert

    TEMPLATE.parent.mkdir(parents=True, exist_ok=True)
    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]  # its stub lacks defaults
    TEMPLATE.write_text(PAGE.replace("SCRIPT", bundle), "utf-8")
    verb = "diff" if len(sys.argv) > 1 else "show"
    command = ["dvc", "plots", verb, *sys.argv[1:], "--html-template", str(TEMPLATE), "--out", str(FOLDER)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    TEMPLATE.unlink()
    if result.returncode:
        raise MnistryError(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
    page = FOLDER / "index.html"
    inline_pictures(page)
    print(f"{page.resolve()}: open it in a browser")
    return 0


def inline_pictures(page: Path) -> None:
    """Put the PNGs that lie beside the page into it, so that it can be sent or moved as one file."""

    def inlined(tag: re.Match[str]) -> str:
        picture = page.parent / tag[1]
        content = base64.b64encode(picture.read_bytes()).decode()
        return f'<img alt="{picture.stem}" src="data:image/png;base64,{content}">'

    page.write_text(re.sub(r'<img src="(static/[^"]+)">', inlined, page.read_text("utf-8")), "utf-8")
    shutil.rmtree(page.parent / "static", ignore_errors=True)


if __name__ == "__main__":
    run_command(main)
