"""Reading YAML files: what an error says of each kind of wrong value."""

import re

import pytest
import yaml

from src.errors import MnistryError
from src.explanations import EXPECTED
from src.params import Params
from src.sources.digits import DigitsDescription
from src.sources.images import ImagesDescription
from src.sources.torchvision_classes import TorchvisionDescription
from src.yaml_files import LARGEST_FILE, read_keys, read_yaml
from tests.conftest import PROJECT

FILES = {
    type(section): section.model_dump()
    for section in (
        Params.model_validate(yaml.safe_load((PROJECT / "params.yaml").read_text("utf-8"))),
        ImagesDescription.model_validate({"image_size": [8, 8], "class_names": ["a"], "class_level": [1, 2]}),
        TorchvisionDescription(
            torchvision="MNIST", arguments={"split": "letters"}, train={"train": True}, validation={"train": True},
            test={"train": False}, class_names=("a",), mirrors=("/archives",),
        ),
        DigitsDescription(scikit_learn="digits", md5="0", test_fraction=0.2, split_seed=0),
    )
}  # fmt: skip
"""Every kind of file, with all of its keys: those that are not given have their defaults."""

VALUES = [
    "null", "~", "yes", "no", "0", "-1", "5", "5.0", "1e400", ".inf", "-.inf", ".nan", f"0x{'f' * 5000}", "1_000",
    "12:30", "2024-05-01", "2024-05-01 10:20:30", "''", "text", "'5'", "Größe", "x" * 5000, "!!binary aGk=", "[]",
    "[1]", "[x]", "[[]]", "[{}]", "[1, 2, 3]", "&ANCHOR [*ANCHOR]", "{}", "{x: 1}", "{1: x}", "{no: x}", "{null: x}",
    "{2024-05-01: x}", "{!!binary aGk=: x}", "&ANCHOR {x: *ANCHOR}", "!!set {x}", "!!omap [x: 1]",
]  # fmt: skip
"""What can be written in YAML, of every type."""

PYDANTICS_WORDS = re.compile(
    r"\ba (integer|error|valid)|tuple|dictionary|boolean|string|should|after validation|validation error|instance"
    r"|greater|less than|pattern|\bextra\b|field required|permitted|value error|unable to|nonetype|pydantic|<class"
    r"|\b(str|int|bool|dict)\b",
    re.IGNORECASE,
)


def with_values_at(content, depth):
    """The content with VALUE in place of everything at that depth; the top is 0."""
    if depth == 0:
        return "VALUE"
    if isinstance(content, dict):
        return {key: with_values_at(value, depth - 1) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [with_values_at(value, depth - 1) for value in content]
    return content


def problems_of(path, text, section):
    """The lines of what reading the text as `section` says; none where nothing is wrong."""
    path.write_text(text, "utf-8")
    try:
        read_yaml(path, section)
    except MnistryError as error:
        return str(error).split("\n")
    return []


@pytest.fixture(scope="module")
def all_problems(tmp_path_factory):
    """What is said of every value of VALUES in place of every key and item of every file."""
    path, problems = tmp_path_factory.mktemp("files") / "params.yaml", []
    for section, content in FILES.items():
        for depth in range(6):
            # In flow style, any value can be written anywhere.
            text = yaml.safe_dump(with_values_at(content, depth), default_flow_style=True, width=10**6)
            for value in VALUES:
                once = re.sub("VALUE", lambda place: value.replace("ANCHOR", f"at{place.start()}"), text)  # noqa: B023
                problems += problems_of(path, once, section)
    assert len(problems) > 3000
    assert all(problem.startswith(f"{path}: ") for problem in problems)
    return [problem.removeprefix(f"{path}: ") for problem in problems]


def test_no_error_is_in_pydantics_words(all_problems):
    """Every kind of error has a phrase of ours, whatever is written in place of whichever value."""
    assert [problem for problem in all_problems if PYDANTICS_WORDS.search(problem)] == []


def test_every_error_says_what_to_do(all_problems):
    """A choice, a type, a range, a missing or unknown key, or quotes; on one line that can be read."""
    advice = re.compile(r"; (did you mean .+\? )?expected .|; add it$|; write (it|'.+') in quotes(, with -S as '.+')?$")
    assert [problem for problem in all_problems if not advice.search(problem)] == []
    assert max(map(len, all_problems)) < 350


def test_every_phrase_is_used(all_problems):
    """A phrase that no field can give is none that a reader has to know."""
    for phrase in set(EXPECTED.values()) - {"{error}"}:
        pattern = re.sub(r"\\\{\w+\\\}", ".+", re.escape(phrase))
        assert any(re.search(f"; {pattern}$", problem) for problem in all_problems), phrase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image_size: 32", "image_size is 32; expected height and width, such as [32, 32]"),
        ("image_size: [32]", "image_size is [32]; expected height and width, such as [32, 32]"),
        ("image_size: [1, 2, 3]", "image_size is [1, 2, 3]; expected height and width, such as [32, 32]"),
        ("image_size: [32, x]", "image_size.1 is 'x'; expected an integer"),
        ("image_size: [0, 32]", "image_size.0 is 0; expected a number of at least 1"),
        ("class_names: [no]", "class_names.0 is no; YAML reads no as false; write 'no' in quotes"),
        ("class_names:\n- On", "class_names.0 is On; YAML reads On as true; write 'On' in quotes"),
        ("class_names: [007]", "class_names.0 is 007; YAML reads 007 as a number; write '007' in quotes"),
        ("class_names: [12:30]", "class_names.0 is 12:30; YAML reads 12:30 as a number; write '12:30' in quotes"),
        ("class_names: [1.50]", "class_names.0 is 1.50; YAML reads 1.50 as a number; write '1.50' in quotes"),
        ("class_names: [2024-05-01]",
         "class_names.0 is 2024-05-01; YAML reads 2024-05-01 as a date; write '2024-05-01' in quotes"),
        ("class_names: [~]", "class_names.0 is ~; YAML reads ~ as nothing; write '~' in quotes"),
        ("class_names:\n-", "class_names.0 is empty; expected text"),
        ("class_names: [[a, no]]", "class_names.0 is ['a', no]; expected text"),
        ("class_names: a", "class_names is 'a'; expected a list"),
        ("test_fraction:", "test_fraction is empty; expected a number"),
        ("color: green", "color is 'green'; did you mean grey? expected one of auto, grey, rgb"),
        ("no: 5", "the file has a key that YAML reads as false; write it in quotes"),
        ("test_fraction: {a: {b: {c: {d: 1}}}}", "test_fraction is {'a': {'b': {'c': ...}}}; expected a number"),
        (f"split_seed: {'x' * 100}", f"split_seed is '{'x' * 56}...; expected an integer"),
        (f"split_seed: [{'1, ' * 100}]", f"split_seed is [{'1, ' * 18}1,...; expected an integer"),
        ("base: &base {x: 1}\nsplit_seed: *base", "split_seed is {'x': 1}; expected an integer"),
    ],
)  # fmt: skip
def test_error_shows_what_was_written(tmp_path, text, expected):
    """In the user's own spelling, cut short, with what to write instead."""
    path = tmp_path / "source.yaml"
    assert f"{path}: {expected}" in problems_of(path, text, ImagesDescription)


def test_key_of_a_free_mapping_is_text(tmp_path):
    """The arguments of a torchvision class have names."""
    path, text = tmp_path / "source.yaml", "torchvision: MNIST\ntrain: {no: 1}\ntest: {}"
    assert problems_of(path, text, TorchvisionDescription) == [
        f"{path}: train has a key that YAML reads as false; write it in quotes"
    ]


def test_only_choice_is_named_as_such(tmp_path):
    """Not as one of several."""
    text = yaml.safe_dump(FILES[DigitsDescription] | {"scikit_learn": "iris"})
    (problem,) = problems_of(tmp_path / "source.yaml", text, DigitsDescription)
    assert problem.endswith("scikit_learn is 'iris'; expected digits")


def test_merged_keys_may_be_replaced(tmp_path):
    """A key of its own before one that `<<` brings; the same key twice in one mapping is refused."""
    path = tmp_path / "source.yaml"
    text = "torchvision: MNIST\narguments: &all {a: 1}\ntrain: {<<: *all, a: 2}\ntest: {<<: *all}"
    assert problems_of(path, text, TorchvisionDescription) == []
    description = read_yaml(path, TorchvisionDescription)
    assert (description.train, description.test) == ({"a": 2}, {"a": 1})
    text = "torchvision: MNIST\ntrain: {a: 1, a: 2}\ntest: {}"
    assert problems_of(path, text, TorchvisionDescription) == [
        f"{path}: not valid YAML: a appears twice, again in line 2; remove one"
    ]


def test_error_in_a_merged_key_shows_its_value(tmp_path):
    """The key's own value where it replaces another's, and the other's where it does not."""
    path = tmp_path / "params.yaml"
    text = yaml.safe_dump(FILES[Params] | {"normalize": "NORMALIZE"}).replace(
        "NORMALIZE", "{<<: {method: first}, method: second}"
    )
    assert problems_of(path, text, Params) == [
        f"{path}: normalize.method is 'second'; expected one of half, standard, unit"
    ]
    text = text.replace(", method: second", "")
    assert problems_of(path, text, Params) == [
        f"{path}: normalize.method is 'first'; expected one of half, standard, unit"
    ]


def test_keys_of_a_file_are_those_of_its_mapping(tmp_path):
    """None where the file is empty or is no mapping."""
    path = tmp_path / "source.yaml"
    for text, keys in (("a: 1\nb: {c: 2}", {"a", "b"}), ("", set()), ("[a]", set())):
        path.write_text(text)
        assert read_keys(path) == keys


BOMB = "\n".join(["a: &a0 [x, x, x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 14))])
MERGED = BOMB.replace("[x, x, x, x]", "{x: 1}").replace("[", "{<<: [").replace("]", "]}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "more than 100,000 values in line 6; expected fewer aliases"),
        (MERGED, "more than 100,000 values in line 6; expected fewer aliases"),
        ("a: &a [*a]", "the anchor in line 1 is used inside of itself; expected an alias after it"),
        ("[" * 52 + "]" * 52, "nested too deeply in line 1; expected at most 50 levels"),
        ("[" * 5_000, "nested too deeply"),
        ("a:\n  !!bool x", "'x' in line 2 is no bool; leave out the type"),
        ("a: !!timestamp x", "'x' in line 1 is no timestamp; leave out the type"),
        ("a: !!int ''", "'' in line 1 is no int; leave out the type"),
        ("a: !!float x", "'x' in line 1 is no float; leave out the type"),
        ("a: !!binary aGk=", "a value of type binary in line 1; expected text, numbers, lists and mappings"),
        ("a: !!set {a}", "a value of type set in line 1; expected text, numbers, lists and mappings"),
        ("a: !!omap [x: 1]", "a value of type omap in line 1; expected text, numbers, lists and mappings"),
        ("a: !!pairs [x: 1]", "a value of type pairs in line 1; expected text, numbers, lists and mappings"),
        ("a: !!bool {=: x}", "a value of type bool in line 1; expected text, numbers, lists and mappings"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "a value of type python/object/apply:os.system in line 1; expected",
        ),
        (f"a: {'9' * 101}", "a number of 101 characters in line 1; expected a shorter one"),
        ("a: 1" + ":59" * 80_000, "a number of 240,001 characters in line 1; expected a shorter one"),
        (r'a: "\ud800"', r"half a character in line 1, '\ud800'; expected text"),
        (r'a: "\UFFFFFFFF"', "too large"),
        ("? [a]\n: b", "found unhashable key"),
    ],
)
def test_file_that_would_take_long_or_fail_is_refused_at_once(tmp_path, text, expected):
    """Before any value is made of it, whatever kind of file it is."""
    for section in FILES:
        (problem,) = problems_of(tmp_path / "source.yaml", text, section)
        assert expected in problem
        assert ": not valid YAML: " in problem


def test_large_file_is_not_read(tmp_path):
    """Settings take a few kilobytes."""
    path = tmp_path / "source.yaml"
    assert problems_of(path, "# " + "x" * LARGEST_FILE, Params) == [
        f"{path}: more than 262,144 bytes; expected a short file of settings"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torchvision: MNIST\ntrain: {}\ntest: {}\nfirst_label: 1" + "0" * 30, "first_label is 1"),
        ("class_level: 1" + "0" * 30, "class_level is 1"),
        ("root: ../..", "root is '../..'; expected a folder inside of the dataset's"),
        ('root: "a\\0"', "expected a folder inside of the dataset's"),
    ],
)
def test_value_without_sense_is_refused(tmp_path, text, expected):
    """Numbers that no dataset has, folders that aren't the dataset's."""
    section = TorchvisionDescription if "torchvision" in text else ImagesDescription
    (problem,) = problems_of(tmp_path / "source.yaml", text, section)
    assert expected in problem
