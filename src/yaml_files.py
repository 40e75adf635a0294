"""Reading a YAML file into a typed, frozen object, or an error that names the key."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from src.errors import MnistryError, is_text
from src.explanations import explain, shorten


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


LARGEST_FILE = 1 << 18
"""Bytes. 10,000 class names take fewer, and reading them takes under a second."""
DEEPEST = 50
"""Lists and mappings inside one another."""
MOST_VALUES = 100_000
"""Values once aliases are written out: a few hundred bytes of them can mean billions."""
LONGEST_NUMBER = 100
"""Characters. Python takes long over numbers of many thousands of digits."""
TAGS = {yaml.ScalarNode: ("null", "bool", "int", "float", "str", "timestamp"), yaml.SequenceNode: ("seq",),
        yaml.MappingNode: ("map",)}  # fmt: skip
"""What a value may be. YAML has more types, and PyYAML would fail on many values that are marked as one of them."""


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, for files from anywhere: no key twice, no types but the plain ones, no endless aliases."""

    def get_single_node(self) -> yaml.Node | None:
        """The file's content before values are made of it; None where it is empty."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            self._check(node, {}, 0)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here rather than where the mapping is made: by then, keys from `<<` are among its own, which replace them.
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.YAMLError(f"{key.value} appears twice, again in {_line(key)}; remove one")
            seen.add(key.value)
        return node

    def _check(self, node: yaml.Node, counted: dict[yaml.Node, int | None], depth: int) -> int:
        """How many values the node is, aliases written out. Raises YAMLError where it is none that a file may hold.

        counted: what is known so far, None for the nodes that this one is in.
        """
        if node in counted:
            count = counted[node]
            if count is None:
                raise yaml.YAMLError(
                    f"the anchor in {_line(node)} is used inside of itself; expected an alias after it"
                )
            return count
        if depth > DEEPEST:
            raise yaml.YAMLError(f"nested too deeply in {_line(node)}; expected at most {DEEPEST} levels")
        counted[node] = None
        self._check_type(node)
        inner = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else node.value
        count = 1
        for each in () if isinstance(node, yaml.ScalarNode) else inner:
            count += self._check(each, counted, depth + 1)
            if count > MOST_VALUES:
                raise yaml.YAMLError(f"more than {MOST_VALUES:,} values in {_line(node)}; expected fewer aliases")
        counted[node] = count
        return count

    def _check_type(self, node: yaml.Node) -> None:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag == "merge" and node.value == "<<":
            return
        if tag not in TAGS[type(node)]:
            raise yaml.YAMLError(f"a value of type {tag} in {_line(node)}; expected text, numbers, lists and mappings")
        if not isinstance(node, yaml.ScalarNode):
            return
        implied = self.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        if tag != "str" and implied != node.tag:
            raise yaml.YAMLError(f"{shorten(node.value)!r} in {_line(node)} is no {tag}; leave out the type")
        if tag in ("int", "float") and len(node.value) > LONGEST_NUMBER:
            raise yaml.YAMLError(f"a number of {len(node.value):,} characters in {_line(node)}; expected a shorter one")
        if not is_text(node.value):
            raise yaml.YAMLError(f"half a character in {_line(node)}, {node.value!r}; expected text")


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _load(path: Path) -> tuple[Any, yaml.Node | None]:
    """The file's content, and as PyYAML parsed it: what the user wrote, which is `no` where the content is False."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise MnistryError(f"{path}: more than {LARGEST_FILE:,} bytes; expected a short file of settings")
        loader = _StrictLoader(content.decode("utf-8-sig"))
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), node
    except FileNotFoundError:
        raise MnistryError(f"{path}: no such file; run from the project's top folder") from None
    except UnicodeDecodeError as error:
        raise MnistryError(f"{path}: not UTF-8 text ({error.reason}, byte {error.start}); save it as UTF-8") from None
    except RecursionError:
        raise MnistryError(f"{path}: not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ValueError and OverflowError from PyYAML for a date that isn't one and for a character that isn't one.
        raise MnistryError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
