"""Which source a folder is."""

import pytest

from tests.image_files import png, problems_of, put, put_classes


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
