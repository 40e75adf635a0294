"""Which source a folder is."""

import pytest

from src.errors import MnistryError
from src.sources import open_source
from tests.conftest import PROJECT
from tests.image_files import load, png, problems_of, put, put_classes


@pytest.mark.parametrize("target", ["../../outside.yaml", "nowhere.yaml", "/nowhere.yaml"])
def test_source_yaml_that_is_a_link_elsewhere_is_refused(folder, tmp_path, target):
    """Out of the folder or to nothing: it would be followed or ignored."""
    put_classes(folder, "a", "b")
    put(tmp_path, "outside.yaml", "color: rgb\n")
    (folder / "source.yaml").symlink_to(target)
    assert "source.yaml: a link out of its folder or to nothing; put the file itself there" in problems_of(folder)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"source.yaml": "torchvison: MNIST\n"}, "torchvison is not a known key; did you mean torchvision?"),
        (
            {"source.yaml": "torchvision: FakeData\ntrain: {}\ntest: {}\n", "a/0.png": png()},
            "two layouts at once: source.yaml names a class of torchvision, and next to it is a; keep one",
        ),
        ({"source.yaml": "torchvision: MNIST\nimage_size: [2, 2]\n"}, "image_size is not a known key"),
    ],
)
def test_wrong_source_yaml_is_named(folder, files, expected):
    """The key, and what is known."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)


def test_source_yml_is_source_yaml(folder):
    """The other usual ending, for a user's images and for every other source."""
    put_classes(folder, "a", "b")
    put(folder, "source.yml", "class_names: [b, a]\n")
    assert load(folder)[0] == ("b", "a")
    digits = folder.parent / "digits"
    put(digits, "source.yml", (PROJECT / "data/sources/digits/source.yaml").read_bytes())
    assert len(load(digits)[0]) == 10


def test_source_yaml_and_source_yml_are_refused(folder):
    """One of them would be ignored."""
    put_classes(folder, "a", "b")
    for name in ("source.yaml", "source.yml"):
        put(folder, name, "color: rgb\n")
    with pytest.raises(MnistryError, match=r"both source\.yaml and source\.yml; keep one of them"):
        open_source(folder)
