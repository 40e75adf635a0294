"""Fetch a dataset's own files from its source."""

from pathlib import Path

from src.outputs import whole_folder
from src.params import read_params
from src.sources import open_source
from src.sources.corrections import copy_corrections
from stages import log, run_stage


def main(source: Path, raw: Path) -> None:
    """Fill the folder `raw` from what the folder `source` describes."""
    read_params()
    with whole_folder(raw) as folder:
        open_source(source).download(folder)
        copy_corrections(source, folder)
    files = [path for path in raw.rglob("*") if path.is_file()]
    log(f"{raw}: {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB, verified")


if __name__ == "__main__":
    run_stage(main)
