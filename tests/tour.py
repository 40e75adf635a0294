"""Executing docs/tour.ipynb: `python -m tests.tour`, or `make tour`, stores its outputs anew."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

NOTEBOOK = Path(__file__).parent.parent / "docs" / "tour.ipynb"


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells in a new kernel, in the repository's folder, and put their outputs in place."""
    # By sockets of the file system: over TCP, any user of the machine could talk to the kernel.
    config = Config(AsyncKernelManager={"transport": "ipc"})
    folder = {"metadata": {"path": str(NOTEBOOK.parent.parent)}}
    NotebookClient(
        notebook,
        kernel_name="python3",
        resources=folder,
        config=config,
        timeout=120,
        record_timing=False,
        coalesce_streams=True,
    ).execute()
    # The kernel adds its versions, which differ from machine to machine.
    notebook.metadata["language_info"] = {"name": "python"}


if __name__ == "__main__":
    tour = nbformat.read(NOTEBOOK, as_version=4)
    execute(tour)
    nbformat.write(tour, sys.argv[1] if len(sys.argv) > 1 else NOTEBOOK)
