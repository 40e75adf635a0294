"""The runs of a sweep, from options as `dvc exp run --queue -S` takes them: their params and their names."""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.exceptions import DvcException
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import apply_overrides, get_hydra_sweeps, to_hydra_overrides
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from src.errors import MnistryError, suggest
from src.params import Params, read_params

SHORT = {"learning_rate": "lr"}
"""Words for names of params that are longer than their values."""
LONGEST_NAME = 200
"""Bytes of an experiment's name: Git and the logs make a file's name of it, of 255 bytes at most."""


@dataclass(frozen=True)
class Run:
    """A training to do: its experiment's name, what `-S` gives it, and all params that come of that."""

    name: str
    overrides: tuple[str, ...]
    params: Params


@dataclass(frozen=True)
class Plan:
    """The runs, and how many combinations of values were asked for: some may come to the same run."""

    runs: list[Run]
    combinations: int


MOST_RUNS = 10_000
"""Combinations that are looked at: each has its params checked and, if it runs, a clone."""


def plan_runs(options: Sequence[str], params_yaml: str, path: Path) -> Plan:
    """The runs that the options ask for, in their order, the last option's values changing first.

    Combinations that differ only in params of models that they don't train are one run. All values are checked.

    options: as in `dvc exp run --queue -S`: `model=linear,mlp`, `seed=range(10)`.
    params_yaml: what the file called `path` holds in the commit that is run.
    Raises MnistryError.
    """
    swept = _check_options(options, yaml.safe_load(params_yaml), path)
    combinations = [point[str(path)] for point in get_hydra_sweeps({str(path): [*options]})]
    if not 0 < len(combinations) <= MOST_RUNS:
        raise MnistryError(f"-S: {len(combinations):,} combinations of values; expected 1 to {MOST_RUNS:,}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, path.name)
        file.write_text(params_yaml, "utf-8")
        head = read_params(file)
        points: dict[tuple, Run] = {}
        for overrides in combinations:
            file.write_text(params_yaml, "utf-8")
            params = _changed(file, overrides)
            run = Run(_name(params, head, swept), _concerned(overrides, params.model), params)
            points.setdefault(tuple(effective_params(params).items()), run)
    return Plan(_with_distinct_names(list(points.values())), len(combinations))


def effective_params(params: Params) -> dict[str, Any]:
    """All params that a run depends on, by their dotted keys in params.yaml: of `models`, those of the chosen one."""
    others = params.model_dump(exclude={"models"})
    return dict(_leaves(others)) | dict(_leaves(params.recipe.model_dump(), f"models.{params.model}."))


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _check_options(options: Sequence[str], content: dict[str, Any], path: Path) -> list[str]:
    """The keys to which the options give several values; raises MnistryError where one is not understood."""
    sections = [key.split(".") for key, _ in _leaves(content)]
    known = sorted({".".join(keys[:depth]) for keys in sections for depth in range(1, len(keys) + 1)})
    overrides = [_parse(option, path) for option in options]
    for option, override in zip(options, overrides, strict=True):
        key = override.key_or_group
        if override.type != OverrideType.CHANGE or override.package is not None:
            raise MnistryError(f"-S {option}: expected name=value; a sweep adds and removes no params")
        if override.value_type in (ValueType.GLOB_CHOICE_SWEEP, ValueType.INTERVAL_SWEEP):
            raise MnistryError(f"-S {option}: expected values, as in {key}=1,2, or a range, as in '{key}=range(10)'")
        if key not in known:
            raise MnistryError(f"-S {option}: {_explain_unknown(key, known, path)}")
    keys = [override.key_or_group for override in overrides]
    for key, count in Counter(keys).items():
        if count > 1:
            raise MnistryError(f"-S {key}: given {count} times; expected all values in one, as in {key}=1,2")
    return [override.key_or_group for override in overrides if override.is_sweep_override()]


def _parse(option: str, path: Path) -> Override:
    (file,) = to_path_overrides([option])
    if file != str(path):
        raise MnistryError(f"-S {option}: expected a param of {path}, not of {file}")
    try:
        override: Override = to_hydra_overrides([option])[0]
    except HydraException:
        raise MnistryError(
            f"-S {option}: not understood; expected name=value, name=value,value or 'name=range(10)', and in quotes "
            "what isn't ASCII: 'dataset=\"꽃\"'"
        ) from None
    return override


def _explain_unknown(key: str, known: list[str], path: Path) -> str:
    """Where the key leaves the known ones, and how it could go on; or the known ones that end with it."""
    near = [name for name in known if name.endswith(f".{key}")]
    if near:
        return f"{path} has no {key}; did you mean {' or '.join(near)}?"
    parent = key.rpartition(".")[0]
    while parent and parent not in known:
        key, parent = parent, parent.rpartition(".")[0]
    prefix = f"{parent}." if parent else ""
    choices = [name.removeprefix(prefix) for name in known if name.startswith(prefix)]
    word = key.removeprefix(prefix)
    return f"{parent or path} has no {word}; {suggest(word, [name for name in choices if '.' not in name])}"


def _changed(file: Path, overrides: list[str]) -> Params:
    """What the params in the file come to with the overrides, by DVC's own hand; raises MnistryError."""
    try:
        apply_overrides(file, overrides)
        return read_params(file)
    except (DvcException, OmegaConfBaseException) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
    except MnistryError as error:
        reason = str(error).replace(f"{file}: ", "")
    raise MnistryError(f"-S {' '.join(overrides)}: {reason}")


def _concerned(overrides: list[str], model: str) -> tuple[str, ...]:
    """The overrides without those of params of other models."""
    others = [override.startswith("models.") and override.split(".")[1] != model for override in overrides]
    return tuple(override for override, other in zip(overrides, others, strict=True) if not other)


def _name(params: Params, head: Params, swept: list[str]) -> str:
    """Of the model, of what is swept, and of what differs from the commit's params, such as cnn-lr0.01-seed3."""
    values = effective_params(params)
    before = effective_params(head.model_copy(update={"model": params.model}))
    named = [
        key
        for key in values
        if values[key] != before[key] or any(key == option or key.startswith(f"{option}.") for option in swept)
    ]
    words = _words([key.removeprefix(f"models.{params.model}.") for key in values])
    parts = [params.dataset] if "dataset" in named else []
    parts.append(params.model)
    # What is repeated for the sake of the spread comes last.
    others = sorted((key for key in named if key not in ("dataset", "model")), key=lambda key: key == "seed")
    parts += [_part(words[key.removeprefix(f"models.{params.model}.")], values[key]) for key in others]
    return "-".join(parts)


def _words(keys: list[str]) -> dict[str, str]:
    """A word for each dotted key: its shortest end that is no other key's end, or all of it."""
    ends = Counter(".".join(key.split(".")[-depth:]) for key in keys for depth in range(1, key.count(".") + 2))
    words = {}
    for key in keys:
        parts = key.split(".")
        choices = [".".join(parts[-depth:]) for depth in range(1, len(parts))]
        end = next((choice for choice in choices if ends[choice] == 1), key)
        words[key] = SHORT.get(end, end)
    return words


def _part(word: str, value: Any) -> str:
    """The word and the value, with _ between letters."""
    if isinstance(value, tuple):
        text = "x".join(map(str, value)) or "none"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        # Git takes no colon, which cuda:1 has.
        text = str(value).lower().replace(":", "")
    return f"{word}{text}" if text[0].isdigit() else f"{word}_{text}"


def _with_distinct_names(runs: list[Run]) -> list[Run]:
    """The runs, with a hash of their params in names that Git wouldn't take or that several have."""
    counts = Counter(run.name for run in runs)
    return [
        run if counts[run.name] == 1 and _is_valid(run.name) else Run(_hashed_name(run), run.overrides, run.params)
        for run in runs
    ]


def _is_valid(name: str) -> bool:
    """If Git takes the name for a reference; params consist of characters that it takes."""
    return ".." not in name and not name.endswith((".", ".lock")) and len(name.encode()) <= LONGEST_NAME


def _hashed_name(run: Run) -> str:
    digest = hashlib.sha256(repr(effective_params(run.params)).encode()).hexdigest()
    return f"{run.params.model}-{digest[:10]}"
