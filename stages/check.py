"""Check params.yaml and that its dataset has a source, before DVC looks for the source and finds nothing."""

from pathlib import Path

from src.errors import MnistryError
from src.params import read_params
from src.yaml_files import suggest
from stages import run_stage


def main(sources: Path, checked: Path) -> None:
    """Leave the dataset's name in `checked` if there is a folder of that name in `sources`."""
    params = read_params()
    known = sorted(path.name for path in sources.iterdir() if path.is_dir())
    if params.dataset not in known:
        raise MnistryError(
            f"params.yaml: dataset is {params.dataset!r}; {suggest(params.dataset, known)}, "
            f"or put your own images into {sources / params.dataset}/"
        )
    checked.parent.mkdir(parents=True, exist_ok=True)
    checked.write_text(params.dataset + "\n")


if __name__ == "__main__":
    run_stage(main)
