"""Reading a YAML file into a typed, frozen object, or an error that names the key."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from src.errors import MnistryError
from src.explanations import explain


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

Tuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
"""For fields that are tuples: YAML only has lists."""

SectionT = TypeVar("SectionT", bound=Section)


def read_yaml(path: Path, section: type[SectionT]) -> SectionT:
    """The file's content as a `section`.

    Raises MnistryError, one line per mistake, with the key's path, its value and what was expected.
    """
    content, node = _load(path)
    try:
        # As context, for validators that look at what is written.
        return section.model_validate(content, context=node)
    except ValidationError as error:
        raise MnistryError(*(f"{path}: {explain(item, section, node)}" for item in error.errors())) from None


def read_keys(path: Path) -> set[str]:
    """The top-level keys of the file, none where it isn't a mapping; raises MnistryError."""
    content, _ = _load(path)
    return set(content) if isinstance(content, dict) else set()


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which by itself lets a later key silently replace an earlier one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here rather than where the mapping is made: by then, keys from `<<` are among its own, which replace them.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"{key.value} appears twice, again in line {line}; remove one")
            seen.add(key.value)
        return node


def _load(path: Path) -> tuple[Any, yaml.Node | None]:
    """The file's content, and as PyYAML parsed it: what the user wrote, which is `no` where the content is False."""
    try:
        loader = _UniqueKeyLoader(path.read_text(encoding="utf-8-sig"))
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    except FileNotFoundError:
        raise MnistryError(f"{path}: no such file; run from the project's top folder") from None
    except UnicodeDecodeError as error:
        raise MnistryError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    except RecursionError:
        raise MnistryError(f"{path}: not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError from PyYAML for a date that isn't one, and for numbers of more than 4,300 digits.
        raise MnistryError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
