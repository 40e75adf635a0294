"""Reading a YAML file into a typed, frozen object, or an error that names the key."""

from collections.abc import Hashable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from src.errors import MnistryError


class Section(BaseModel):
    """A mapping of a YAML file: no unknown keys, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _float_from_text(value: Any) -> Any:
    # YAML 1.1 reads 5e-05, which `dvc exp run -S` writes, as a string: its floats need a dot.
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_float_from_text)]
"""A float that may be spelt without a dot, as in 5e-05."""

Tuple = Field(strict=False)
"""For fields that are tuples: YAML only has lists."""

SectionT = TypeVar("SectionT", bound=Section)


def read_yaml(path: Path, section: type[SectionT]) -> SectionT:
    """The file's content as a `section`.

    Raises MnistryError, one line a mistake, with the key's path, its value and what was expected.
    """
    try:
        return section.model_validate(_load(path))
    except ValidationError as error:
        raise MnistryError("\n".join(f"{path}: {_explain(item, section)}" for item in error.errors())) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which by itself lets a later key silently replace an earlier one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"{key_node.value} stands twice, again in line {line}; remove one")
            seen.add(key_node.value)
        return mapping


def read_keys(path: Path) -> set[str]:
    """The top-level keys of the file, none where it isn't a mapping; raises MnistryError."""
    content = _load(path)
    return set(content) if isinstance(content, dict) else set()


def _load(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise MnistryError(f"{path}: no such file; run from the project's top folder") from None
    except UnicodeDecodeError as error:
        raise MnistryError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    except RecursionError:
        raise MnistryError(f"{path}: not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError from PyYAML for a date that isn't one, and for numbers of more than 4,300 digits.
        raise MnistryError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def _explain(item: Any, section: type[Section]) -> str:
    keys = ".".join(str(key) for key in item["loc"]) or "the file"
    if item["type"] == "extra_forbidden":
        known = _known_keys(section, item["loc"][:-1])
        return f"{keys} is not a known key; {suggest(str(item['loc'][-1]), known)}"
    if item["type"] == "missing":
        return f"{keys} is missing; add it"
    if item["type"] in ("model_type", "model_attributes_type"):
        return f"{keys} is {item['input']!r}; expected a mapping of keys to values"
    expected = str(item["ctx"]["error"]) if item["type"] == "value_error" else _expectation(item)
    return f"{keys} is {item['input']!r}; {expected}"


def _expectation(item: Any) -> str:
    if item["type"] == "literal_error":
        choices = [choice.strip("'") for choice in item["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return suggest(str(item["input"]), choices)
    message = str(item["msg"])
    return message.replace("Input should be", "expected").replace("a valid", "a")


def suggest(value: str, known: list[str]) -> str:
    """The nearest of the known names first, then all of them."""
    near = get_close_matches(value, known, n=1, cutoff=0.5)
    return (f"did you mean {near[0]}? " if near else "") + f"expected one of {', '.join(sorted(known))}"


def _known_keys(section: type[Section], keys: tuple[Any, ...]) -> list[str]:
    known: Any = section
    for key in keys:
        field = getattr(known, "model_fields", {}).get(key)
        known = field.annotation if field else None
    return sorted(getattr(known, "model_fields", {}))
