"""Check params.yaml and that its dataset has a source, before DVC looks for the source and finds nothing."""

from pathlib import Path

from src.errors import MnistryError, suggest
from src.params import read_params
from stages import log, run_stage


def main(sources: Path, checked: Path) -> None:
    """Leave the dataset's name in `checked` if `sources` has a folder of that name, or DVC's file about one."""
    params = read_params()
    folders = {path.name for path in sources.iterdir() if path.is_dir()}
    known = sorted(folders | {path.stem for path in sources.glob("*.dvc")})
    source = sources / params.dataset
    if params.dataset not in known:
        raise MnistryError(
            f"params.yaml: dataset is {params.dataset!r}; {suggest(params.dataset, known)}, "
            f"or put your own images into {source}/"
        )
    if source.is_file():
        raise MnistryError(f"{source}: a file; expected a folder, with images or an archive in it")
    if params.dataset not in folders:
        log(f"{source} is tracked but not here; unless DVC fetches it now, run `dvc pull {source}`")
    checked.parent.mkdir(parents=True, exist_ok=True)
    checked.write_text(params.dataset + "\n")


if __name__ == "__main__":
    run_stage(main)
