"""A user's own images, from their folder to arrays."""

import zipfile
from collections import Counter

import pytest
import yaml
from PIL import Image

from src.errors import MnistryError
from src.sources import open_source
from src.sources.images import ImagesDescription, suggested_size
from tests.conftest import PROJECT
from tests.image_files import load, png, problems_of, put, put_classes, put_images


@pytest.mark.parametrize("layout", ["tree", "CSV"])
def test_class_names_of_any_script(folder, layout):
    """Spaces, dots, CJK, emoji; as strings, sorted."""
    names = ["a b.c", "お", "🙂"]
    if layout == "tree":
        put_classes(folder, *names)
    else:
        put(folder, "labels.csv", "".join(f"{i}.png,{names[i % 3]}\n" for i in range(9)))
        for i in range(9):
            put(folder, f"{i}.png", png(i))
    assert list(load(folder)[0]) == names


def test_source_yaml_sets_what_cannot_be_guessed(folder):
    """Size, colour, the classes' order and the fraction held out."""
    put_classes(folder, "a", "b", count=10)
    put(folder, "a/100.png", png((200, 0, 0), (9, 9), "RGB"))
    put(folder, "source.yaml", "image_size: [2, 5]\ncolor: rgb\nclass_names: [b, a]\ntest_fraction: 0.5\n")
    class_names, shape, splits = load(folder)
    assert class_names == ("b", "a")
    assert shape == (3, 2, 5)
    assert len(splits["test"][0]) in (10, 11)


def test_source_yaml_of_the_documentation_is_accepted(folder):
    """The example with all keys, with the values that are the defaults but for the size, colour and classes."""
    text = (PROJECT / "docs/datasets.md").read_text("utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]
    put_classes(folder, "daisy", "rose")
    rows = (f"{i}.png,{('daisy', 'rose')[i % 2]}\n" for i in range(10))
    put(folder, "data/labels.csv", "path,dx\n" + "".join(rows))
    put(folder, "notes.csv", "path,dx\n")
    put(folder, "old/0.png", png())
    put(folder, "source.yaml", example)
    assert load(folder)[:2] == (("rose", "daisy"), (1, 32, 32))
    assert set(yaml.safe_load(example)) == set(ImagesDescription.model_fields)


@pytest.mark.parametrize("content", ["", "# Nothing yet.\n"])
def test_empty_source_yaml_changes_nothing(folder, content):
    """As if it weren't there."""
    put_classes(folder, "a", "b")
    put(folder, "source.yaml", content)
    assert load(folder)[0] == ("a", "b")


def test_two_source_yaml_are_refused(folder):
    """Next to the archive and in it: one of them would be ignored."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("source.yaml", "color: rgb\n")
        archive.writestr("a/0.png", png())
    put(folder, "source.yaml", "color: grey\n")
    assert "two source.yaml, next to the archive and in it; keep one of them" in problems_of(folder)


@pytest.mark.parametrize("label", ["a\x7f", "it\x92s", "\ufffe", "🙂", 'a"\\b'])
def test_labels_of_any_characters_are_read_back(folder, label):
    """YAML allows for fewer than JSON."""
    put_images(folder, 4)
    quoted = label.replace('"', '""')
    put(folder, "labels.csv", "".join(f'{i}.png,"{quoted if i % 2 else "-"}"\n' for i in range(4)))
    assert load(folder)[0] == ("-", label)


@pytest.mark.parametrize("content", [None, b"", b'{"class_names": 5}'])
def test_raw_folder_without_what_was_found_out_is_named(folder, content):
    """As after a download by another version."""
    put_classes(folder, "a", "b")
    load(folder)
    resolved = folder.parent.parent / "raw/mine/images.json"
    if content is None:
        resolved.unlink()
    else:
        resolved.write_bytes(content)
    source = open_source(resolved.parent)
    with (
        pytest.raises(MnistryError, match=r"images\.json: missing or damaged; run `dvc repro --force download`"),
        source.read(folder),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not an image that can be read"),
        (b"text", "not an image that can be read"),
        (png(1, (50, 50))[:-30], "bad.png: "),
        (png()[:16] + bytes(4) + png()[20:], "bad.png: "),
    ],
)
def test_bad_image_is_named(folder, content, expected):
    """Empty, of another kind, cut off, of zero width."""
    put_classes(folder, "a", "b")
    put(folder, "a/bad.png", content)
    message = problems_of(folder)
    assert "mine: 1 problem; nothing was written" in message
    assert "a/bad.png: " in message
    assert expected in message


def test_images_of_several_sizes_need_a_stated_one(folder):
    """With one that trains, not the commonest, and the memory that it takes; 7 images of 32x32 are 7,168 bytes."""
    put_classes(folder, "a", "b", count=3)
    put(folder, "a/x.png", png(0, (9, 8)))
    message = problems_of(folder)
    assert "images of 2 sizes, 3 to 8 pixels high and 4 to 9 wide; state one in source.yaml, such as" in message
    assert "image_size: [32, 32] (height and width), which takes 0.0 MB; images keep their proportions" in message


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({(20, 30): 5, (28, 28): 5}, (32, 32)),
        ({(200, 300): 5, (300, 200): 5}, (64, 64)),
        ({(100, 200): 9, (100, 300): 9}, (64, 128)),
        ({(60, 30): 9, (90, 30): 9}, (64, 32)),
    ],
)
def test_suggested_size_trains(sizes, expected):
    """32 for small images and 64 for others, square unless nearly all are long in one direction."""
    assert suggested_size(Counter(sizes)) == expected


@pytest.mark.parametrize(
    ("ground", "grey", "said"),
    [
        ("", 255, "of one colour with black behind their transparent parts, 0 with white: white is taken"),
        ("transparent: white", 255, "2 classes"),
        ("transparent: black", 0, "warning: 8 of 8 images are of one colour with black behind their transparent parts"),
    ],
)
def test_black_ink_on_a_transparent_ground_is_seen(folder, capsys, ground, grey, said):
    """White is taken where black would hide it, and said; source.yaml has the last word, and is warned."""
    for i in range(8):
        image = Image.new("RGBA", (6, 6))
        image.paste((0, 0, 0, 255), (i % 5, 1, i % 5 + 1, 5))
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        image.save(folder / "ab"[i % 2] / f"{i}.png")
    put(folder, "source.yaml", ground)
    images = load(folder)[2]["train"][0]
    assert images[0, 0, 0, 5] == grey
    assert said in capsys.readouterr().out


def test_several_sizes_are_shown_with_the_other_problems(folder):
    """In one pass."""
    for i, size in enumerate([(9, 8), (4, 3), (9, 8), (4, 3), (7, 7)]):
        put(folder, f"{'ab'[i % 2]}/{i}.png", png(i, size))
    put(folder, "c/0.png", b"")
    message = problems_of(folder)
    assert "mine: 3 problems" in message
    assert "class 'c' has 1 image" in message
    assert "c/0.png: not an image" in message
    assert "images of 3 sizes, 3 to 8 pixels high and 4 to 9 wide; state one" in message


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"source.yaml": "image_sise: [2, 2]\n"}, "image_sise is not a known key; did you mean image_size?"),
        (
            {"source.yaml": "class_names: [a, a]\n"},
            "class_names is ['a', 'a']; 'a' appears twice; expected each class once",
        ),
        ({"source.yaml": "image_size: [0, 5]\n"}, "image_size.0 is 0; expected"),
        ({"source.yaml": "image_size: [5, 10001]\n"}, "image_size.1 is 10001; expected a number of at most 10000"),
        ({"source.yaml": "class_names: [2024-13-45, b]\n"}, "source.yaml: not valid YAML: month must be in 1..12"),
        ({"source.yaml": "class_names: " + "[" * 3000}, "source.yaml: not valid YAML: nested too deeply"),
        ({"source.yaml": "split_seed: " + "9" * 5000}, "source.yaml: not valid YAML: "),
        (
            {"source.yaml": 'class_names: ["\u00e9", "e\u0301"]\n'},
            "'\u00e9' appears twice; expected each class once",
        ),
        ({"source.yaml": "test_fraction: 1.5\n"}, "test_fraction is 1.5; expected"),
    ],
)
def test_wrong_source_yaml_is_named(folder, files, expected):
    """The key, its value and what was expected."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)


@pytest.mark.parametrize("name", ["Source.yaml", "SOURCE.YML"])
def test_source_yaml_in_capitals_is_read(folder, name):
    """It was passed over in silence where capitals matter."""
    put_classes(folder, "a", "b")
    put(folder, name, "image_size: [2, 5]")
    assert load(folder)[1] == (1, 2, 5)
