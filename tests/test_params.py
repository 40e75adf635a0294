"""The params: their choices and ranges, and the comments that explain them."""

import re

import pytest
import yaml
from dvc.parsing.context import Context
from dvc.utils.serialize import loads_yaml

from src.errors import MnistryError
from src.params import Params, read_params
from tests.conftest import PROJECT


def keys_of(section, prefix=""):
    """The dotted keys of a section and of the sections in it."""
    for key, value in section.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys_of(value, f"{prefix}{key}.")


def test_the_projects_params_are_valid_and_complete(default_params):
    """Every field of the typed params is in params.yaml, none by default only."""
    params = read_params(PROJECT / "params.yaml")
    dumped = yaml.safe_load(yaml.safe_dump(params.model_dump(mode="json")))
    assert set(keys_of(dumped)) == set(keys_of(default_params))


def test_every_knob_is_explained():
    """A comment is above the first appearance of each key; a recipe's keys are explained in the first recipe.

    Or after it on its line, where the key follows a list: DVC drops a comment there when it rewrites the file.
    """
    explained, comment, after_list = set(), False, False
    for line in (PROJECT / "params.yaml").read_text("utf-8").splitlines():
        key = re.match(r" *([a-z_]+):", line)
        if line.strip().startswith("#"):
            assert not after_list, f"{line.strip()} is where DVC drops it"
            comment = True
        elif key:
            if comment or "  # " in line:
                explained.add(key[1])
            assert key[1] in explained | {"normalize", "train", "evaluate", "models", "method"}, (
                f"{key[1]} has no comment"
            )
            comment = False
        after_list = line.strip().startswith("- ")


def test_number_without_dot_is_a_number(write_params):
    """`dvc exp run -S` writes 5e-05, which YAML 1.1 takes for a string."""
    path = write_params()
    path.write_text(path.read_text().replace("learning_rate: auto", "learning_rate: 5e-05", 1))
    assert "5e-05" in path.read_text()
    assert 5e-05 in {recipe.learning_rate for _, recipe in read_params(path).models}


def test_recipe_is_the_chosen_models(params):
    """`params.recipe` follows `model`."""
    assert params.model_copy(update={"model": "cnn"}).recipe == params.models.cnn


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model", "bogus", r"model is 'bogus'; expected one of cnn, linear, mlp, pretrained, resnet"),
        ("model", "cn", r"model is 'cn'; did you mean cnn\?"),
        ("models__mlp__epochs", -1, r"models\.mlp\.epochs is -1; expected a number of at least 1, or auto$"),
        ("models__mlp__epochs", 1.5, r"models\.mlp\.epochs is 1\.5; expected an integer"),
        ("models__mlp__epochs", True, r"models\.mlp\.epochs is true; expected an integer"),
        ("models__mlp__epochs", "Auto", r"models\.mlp\.epochs is 'Auto'; expected an integer, or auto$"),
        ("models__mlp__hidden_sizes", "64", r"models\.mlp\.hidden_sizes is '64'; expected a list, or auto$"),
        ("models__mlp__hidden_sizes", ["auto"], r"models\.mlp\.hidden_sizes\.0 is 'auto'; expected an integer$"),
        ("models__mlp__batch_size", "auto", r"models\.mlp\.batch_size is 'auto'; expected an integer$"),
        ("models__mlp__epoch", 5, r"models\.mlp\.epoch is not a known key; did you mean epochs\?"),
        ("models__cnn__learning_rate", 0, r"models\.cnn\.learning_rate is 0; expected a number above 0"),
        ("models__cnn__learning_rate", float("nan"), r"models\.cnn\.learning_rate is \.nan; expected a finite number"),
        ("models__cnn__channels", [], r"models\.cnn\.channels is \[\]; expected at least 1 item"),
        ("models__cnn__kernel_size", 0, r"models\.cnn\.kernel_size is 0; expected a number of at least 1"),
        ("train__validation_fraction", 1, r"train\.validation_fraction is 1; expected a number below 1"),
        ("train__folds", 1, r"train\.folds is 1; one fold would leave no images .* expected 0 \(none\), or 2 and more"),
        ("train__folds", -1, r"train\.folds is -1; expected a number of at least 0"),
        ("train__fold", 1, r"train\.fold is 1; train\.folds is 0, so there are no folds; expected 0"),
        ("normalize", "half", r"normalize is 'half'; expected a mapping"),
        ("normalize__method", "standart", r"did you mean standard\?"),
        ("device", "GPU", r"device is 'GPU'; expected auto or a device such as cpu, cuda or cuda:1"),
        ("dataset", "../mnist", r"dataset is '\.\./mnist'; expected a folder's name of letters, digits"),
        ("dataset", "my flowers", "dataset is 'my flowers'; expected a folder's name of letters, digits"),
        ("seed", -1, r"seed is -1; expected a number of at least 0"),
        ("trian", {}, r"trian is not a known key; did you mean train\?"),
    ],
)
def test_wrong_value_is_named_with_what_was_expected(write_params, key, value, expected):
    """An error names the file, the key's path, the value and the choices or the range."""
    path = write_params(**{key: value})
    with pytest.raises(MnistryError, match=expected) as error:
        read_params(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_fold_is_one_of_the_folds(write_params):
    """They are counted from 0."""
    assert read_params(write_params(train__folds=5, train__fold=4)).train.fold == 4
    with pytest.raises(MnistryError, match=r"train\.fold is 5; train\.folds is 5; expected 0 to 4$"):
        read_params(write_params(train__fold=5))


@pytest.mark.parametrize("name", ["emnist_letters", "2024-05.flowers", "花", "हिन्दी", "e\u0301te\u0301"])
def test_dataset_may_be_named_in_any_script(write_params, name):
    """With composed and decomposed letters, too."""
    assert read_params(write_params(dataset=name)).dataset == name


@pytest.mark.parametrize("name", ["", "..", "-x", "a b", "a\u3000b", "a;b", "$(a)", "a'b", "a\nb"])
def test_dataset_that_a_shell_would_read_is_refused(write_params, name):
    """It becomes part of the stages' command lines."""
    with pytest.raises(MnistryError, match="expected a folder's name of letters, digits"):
        read_params(write_params(dataset=name))


NAMES_AS_WRITTEN = ["2024", "0", "no", "No", "OFF", "yes", "on", "true", "false", "y", "3d", "1e3d", "_1", "nan", "1-2"]
OTHER_THAN_WRITTEN = [
    "1e3",
    "1E+3",
    "1.5e3",
    "1_0e3",
    "1.10",
    "1.",
    "007",
    "08",
    "0o17",
    "0x1f",
    "1_000",
    "True",
    "FALSE",
    "null",
]


def write_dataset(path, written):
    """Write the dataset's name into params.yaml just as it is given; the file's text."""
    text = path.read_text("utf-8")
    text = re.sub(r"^dataset: .*$", lambda _: f"dataset: {written}", text, count=1, flags=re.MULTILINE)
    path.write_text(text, "utf-8")
    return text


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("name", NAMES_AS_WRITTEN + OTHER_THAN_WRITTEN)
def test_dataset_is_what_dvc_puts_into_commands(write_params, name, quote):
    """With and without quotes, whatever PyYAML makes of it; where DVC takes another name than is written, no name."""
    path = write_params()
    text = write_dataset(path, f"{quote}{name}{quote}")
    if quote or name in NAMES_AS_WRITTEN:
        assert read_params(path).dataset == name
        assert Context(loads_yaml(text)).resolve("data/${dataset}") == f"data/{name}"
    else:
        assert Context(loads_yaml(text)).resolve("data/${dataset}") != f"data/{name}"
        with pytest.raises(MnistryError) as error:
            read_params(path)
        assert f"; write '{name}' in quotes, with -S as 'dataset=\"{name}\"'" in str(error.value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        # What DVC makes of `-S dataset=1e3`.
        ("1000.0", "dataset is 1000.0; YAML reads 1000.0 as a number; write '1000.0' in quotes"),
        ("2024-05-01", "dataset is 2024-05-01; YAML reads 2024-05-01 as a date; write '2024-05-01' in quotes"),
        ("True", "dataset is True; YAML reads True as true; write 'True' in quotes"),
        ("1:30", "dataset is 1:30; expected a folder's name of letters, digits"),
        ("-5", "dataset is -5; expected a folder's name of letters, digits"),
        ("", "dataset is empty; expected text"),
        ("[2024]", "dataset is [2024]; expected text"),
    ],
)
def test_dataset_that_is_no_text_says_what_to_write(write_params, written, expected):
    """In quotes only what is a name then."""
    path = write_params()
    write_dataset(path, written)
    with pytest.raises(MnistryError) as error:
        read_params(path)
    assert str(error.value).startswith(f"{path}: {expected}")


@pytest.mark.parametrize("section", ["seed", "models", "train"])
def test_missing_key_is_named(write_params, default_params, section):
    """Nothing has a hidden default."""
    del default_params[section]
    with pytest.raises(MnistryError, match=f"{section} is missing; add it"):
        read_params(write_params())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty; expected a mapping"),
        (b"- 1\n", r"the file is \[1\]; expected a mapping"),
        (b"a: [1\n", "not valid YAML"),
        (b"a:\n\t- 1\n", "not valid YAML"),
        (b"a: \xff\n", "not UTF-8"),
        (b"seed: 1\nseed: 2\n", "seed appears twice, again in line 2"),
    ],
)
def test_unreadable_file_is_named(tmp_path, content, expected):
    """Whatever is in the file, the error says what it is in one line."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(MnistryError, match=expected) as error:
        read_params(path)
    assert str(error.value).splitlines()[0].startswith(f"{path}: ")


def test_missing_file_is_named(tmp_path):
    """A stage run in another folder says where to run it."""
    with pytest.raises(MnistryError, match="run from the project's top folder"):
        read_params(tmp_path / "params.yaml")


def test_params_cannot_be_changed(params):
    """They are read once and travel as arguments."""
    with pytest.raises(ValueError, match="frozen"):
        params.seed = 1
    assert isinstance(params, Params)
