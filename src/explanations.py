"""What is wrong with a value of a YAML file, in our words: pydantic's are a programmer's."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from types import NoneType
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from src.errors import suggest

LONGEST_VALUE = 60
"""Characters of a value that an error shows."""
MOST_ITEMS = LONGEST_VALUE // 2
"""Items of a list or a mapping that are looked at: with their commas, more would be too long to show."""
DEEPEST = 3
"""Lists and mappings inside one another that an error shows, at most: with aliases, they may go on for ever."""

EXPECTED = {
    "bool_type": "expected true or false",
    "dict_type": "expected a mapping of keys to values",
    "finite_number": "expected a finite number",
    "float_type": "expected a number",
    "greater_than": "expected a number above {gt}",
    "greater_than_equal": "expected a number of at least {ge}",
    "int_type": "expected an integer",
    "less_than": "expected a number below {lt}",
    "less_than_equal": "expected a number of at most {le}",
    "model_type": "expected a mapping of keys to values",
    "string_type": "expected text",
    "too_short": "expected at least {min_length} item",
    "tuple_type": "expected a list",
    "value_error": "{error}",
}
"""A phrase for each kind of error that pydantic raises for the project's fields; a test looks for further kinds."""

TYPE_NAMES = {
    NoneType: "nothing",
    date: "a date",
    datetime: "a date",
    float: "a number",
    int: "a number",
}
"""What YAML makes of words without quotes, besides true and false."""

Keys = tuple[str | int, ...]


@dataclass(frozen=True)
class Expected:
    """Marks a field with the phrase that says what it expects, where that of the kind of error says too little."""

    phrase: str


@dataclass(frozen=True)
class AlsoTakes:
    """Marks a field that takes this word as well, whatever its type."""

    word: str


def explain(error: Any, section: type[BaseModel], root: yaml.Node | None) -> str:
    """One line about one of the errors that validating a `section` gave, from pydantic's `errors()`.

    root: the file as PyYAML parsed it, for the user's own spelling: `no` where the value is False. None if empty.
    """
    kind, keys = error["type"], error["loc"]
    if kind == "extra_forbidden":
        return f"{_dotted(keys)} is not a known key; {suggest(str(keys[-1]), _known_keys(section, keys[:-1]))}"
    if kind == "invalid_key" or keys[-1:] == ("[key]",):
        mapping = keys[:-1] if kind == "invalid_key" else keys[:-2]
        return f"{_dotted(mapping)} has a key that YAML reads as {_type_name(error['input'])}; write it in quotes"
    if kind == "missing":
        if isinstance(keys[-1], str):
            return f"{_dotted(keys)} is missing; add it"
        # An item is missing: it is the list that is wrong.
        keys = keys[:-1]
    node = _node_at(root, keys)
    return f"{_dotted(keys)} is {shorten(_written(node))}; {_expectation(error, _field_at(section, keys), node)}"


def _dotted(keys: Keys) -> str:
    return ".".join(map(str, keys)) or "the file"


def _expectation(error: Any, field: FieldInfo | None, node: yaml.Node | None) -> str:
    for mark in field.metadata if field else ():
        if isinstance(mark, Expected):
            return f"expected {mark.phrase}"
    also = [mark.word for mark in (field.metadata if field else ()) if isinstance(mark, AlsoTakes)]
    if error["type"] == "literal_error":
        return suggest(str(node.value) if node else "", re.findall("'([^']*)'", error["ctx"]["expected"]) + also)
    if error["type"] == "string_type" and isinstance(node, yaml.ScalarNode) and node.value:
        return in_quotes(node.value, error["input"])
    return EXPECTED[error["type"]].format(**error.get("ctx", {})) + "".join(f", or {word}" for word in also)


def in_quotes(written: str, value: Any, key: str | None = None) -> str:
    """What to do where YAML makes something else than text, `value`, of what is written without quotes.

    key: what `dvc exp run -S` calls it, if it can be set there.
    """
    written = shorten(written)
    option = f", with -S as '{key}=\"{written}\"'" if key else ""
    return f"YAML reads {written} as {_type_name(value)}; write '{written}' in quotes{option}"


def unquoted(root: yaml.Node | None, *keys: str | int) -> str | None:
    """What is written in the file at the keys; None where it is in quotes, empty, or a list or a mapping."""
    node = _node_at(root, keys)
    return node.value or None if isinstance(node, yaml.ScalarNode) and node.style is None else None


def _type_name(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else TYPE_NAMES[type(value)]


def _field_at(section: Any, keys: Keys) -> FieldInfo | None:
    """The field that the keys lead to; None at the top and inside of lists and free mappings."""
    field = None
    for key in keys:
        field = getattr(section, "model_fields", {}).get(key)
        section = field.annotation if field else None
    return field


def _known_keys(section: type[BaseModel], keys: Keys) -> list[str]:
    field = _field_at(section, keys)
    return list(getattr(field.annotation if field else section, "model_fields", {}))


def _node_at(node: yaml.Node | None, keys: Keys) -> yaml.Node | None:
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            # The last of a name: the keys that `<<` brings come first.
            node = {name.value: value for name, value in node.value if isinstance(name, yaml.ScalarNode)}[str(key)]
        elif isinstance(node, yaml.SequenceNode):
            node = node.value[int(key)]
    return node


def _written(node: yaml.Node | None, depth: int = DEEPEST) -> str:
    """The value as it is in the file, but on one line and strings in quotes."""
    if node is None or (node.value == "" and node.tag != "tag:yaml.org,2002:str"):
        return "empty"
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value) if node.tag == "tag:yaml.org,2002:str" else str(node.value)
    if not depth:
        return "..."
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(_written(item, depth - 1) for item in node.value[:MOST_ITEMS])}]"
    pairs = (f"{_written(key, 0)}: {_written(value, depth - 1)}" for key, value in node.value[:MOST_ITEMS])
    return f"{{{', '.join(pairs)}}}"


def shorten(text: str) -> str:
    """The text, cut where it is longer than an error shows."""
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
