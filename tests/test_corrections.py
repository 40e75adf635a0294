"""Labels corrected by hand, and images left out, before and after the pipeline's first stages."""

import json
import unicodedata
from collections.abc import Mapping

import numpy as np
import pytest

from src.datasets import load_files, load_info, load_split
from src.errors import MnistryError
from src.sources import open_source
from src.sources.corrections import copy_corrections, correct
from src.sources.listing import CORRECTIONS
from stages import download, normalize
from tests.conftest import PROJECT
from tests.image_files import greys, put, put_classes


def corrected(folder):
    """The dataset as download and normalize would have it: by split, each file's label and grey; and the counts."""
    raw = folder.parent.parent / "raw" / folder.name
    raw.mkdir(parents=True)
    open_source(folder).download(raw)
    copy_corrections(folder, raw)
    with open_source(raw).read(raw.parent) as dataset:
        result = correct(dataset, raw)
        splits: Mapping = {
            name: {
                file: (dataset.class_names[label], grey)
                for file, label, grey in zip(
                    split.files, split.labels, greys(np.concatenate(list(split.chunks))), strict=True
                )
            }
            for name, split in result.dataset.splits.items()
        }
    return splits, result.labels, result.removed


@pytest.fixture
def split_images(folder):
    """Images a/0.png, b/1.png, a/2.png, ... in train, four of them, and two more in test."""
    put_classes(folder, "a", "b", split="train/", count=2)
    put_classes(folder, "a", "b", split="test/", count=1)
    return folder


def test_labels_are_corrected_and_images_left_out(split_images):
    """In whatever split; other columns say nothing, rows that change nothing count nothing, the rest stays as it is."""
    put(
        split_images, CORRECTIONS,
        "suggested,label,file\nb,b,train/a/0.png\na,,train/b/1.png\nb,a,train/a/2.png\n,a,test/b/1.png\n",
    )  # fmt: skip
    splits, labels, removed = corrected(split_images)
    assert splits == {
        "train": {"train/a/0.png": ("b", 0), "train/a/2.png": ("a", 2), "train/b/3.png": ("b", 3)},
        "test": {"test/a/0.png": ("a", 0), "test/b/1.png": ("a", 1)},
    }
    assert (labels, removed) == (2, 1)


def test_no_split_is_drawn_anew(folder):
    """Where the test split is drawn by class, corrected labels and removed images move no other image."""
    put_classes(folder, "a", "b", count=20)
    before, *_ = corrected(folder)
    put(folder, CORRECTIONS, "file,label\na/0.png,b\na/2.png,b\nb/1.png,\n")
    (folder.parent.parent / "raw").rename(folder.parent.parent / "before")
    after, *counts = corrected(folder)
    assert counts == [2, 1]
    for name in ("train", "test"):
        assert after[name].keys() == before[name].keys() - {"b/1.png"}


def test_tables_of_spreadsheets_are_read(split_images):
    """Semicolons, a byte-order mark, decomposed letters, and no cell at all behind the last label."""
    put(split_images, "train/é/9.png", (split_images / "train/a/0.png").read_bytes())
    name = unicodedata.normalize("NFD", "train/é/9.png")
    put(split_images, CORRECTIONS, f"\ufefffile;label\r\n{name};\r\ntrain/a/0.png;\r\n")
    splits, *counts = corrected(split_images)
    assert counts == [0, 2]
    assert len(splits["train"]) == 3


def test_wrong_tables_are_refused_in_words(split_images):
    """All that is wrong with the rows at once: unknown files and labels, two labels for one file, no image left."""
    put(
        split_images, CORRECTIONS,
        "file,label\nnone.png,a\ntrain/a/0.png,A\ntrain/b/1.png,a\ntrain/b/1.png,\n,a\ntest/a/0.png,\ntest/b/1.png,\n",
    )  # fmt: skip
    with pytest.raises(MnistryError) as error:
        corrected(split_images)
    assert str(error.value).splitlines() == [
        "corrected_labels.csv: 5 problems; nothing was written",
        "  corrected_labels.csv:5: train/b/1.png has another label in an earlier row",
        "  corrected_labels.csv:6: no file name",
        "  none.png: no such image; files are called as in data/predictions.csv and data/validation.csv",
        "  train/a/0.png: label 'A' is not a class; expected one of a, b",
        "  no test image would be left",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,label\n0,a\n", "corrected_labels.csv: the columns are image, label; expected one file and one label"),
        ("", "corrected_labels.csv: empty"),
    ],
)
def test_what_is_no_table_of_corrections_is_refused(split_images, text, words):
    """Other columns, or nothing."""
    put(split_images, CORRECTIONS, text)
    with pytest.raises(MnistryError, match=words):
        corrected(split_images)


def test_table_elsewhere_is_refused(split_images, tmp_path):
    """A link out of the dataset's folder."""
    (split_images / CORRECTIONS).symlink_to(put(tmp_path, "elsewhere.csv", "file,label\n"))
    with pytest.raises(MnistryError, match=r"corrected_labels.csv: not a file of its folder"):
        corrected(split_images)


def test_corrections_of_a_built_in_dataset_are_traced(tmp_path, monkeypatch, write_params, capsys):
    """Digits are called by their numbers; metrics/dataset.json has the counts, dataset.json another SHA-256."""
    write_params()
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "digits"
    put(source, "source.yaml", (PROJECT / "data/sources/digits/source.yaml").read_bytes())

    def run(name):
        folder = tmp_path / name / "digits"
        download.main(source, folder)
        normalize.main(folder, tmp_path / f"{name} normalized", tmp_path / f"{name}.json", tmp_path / f"{name} figures")
        return tmp_path / f"{name} normalized", json.loads((tmp_path / f"{name}.json").read_text())

    before, metrics = run("before")
    assert (metrics["corrected_labels"], metrics["removed_images"]) == (0, 0)
    first, second = load_files(before, "train", 1438).at([0, 1])
    labels = load_split(before, "train", load_info(before))[1]
    put(source, CORRECTIONS, f"file,label\n{first},{(labels[0] + 1) % 10}\n{second},\n")
    after, metrics = run("after")
    assert (metrics["corrected_labels"], metrics["removed_images"], metrics["train_images"]) == (1, 1, 1437)
    assert "corrected_labels.csv: labels corrected: 1, images left out: 1" in capsys.readouterr().out
    assert list(load_files(after, "train", 1437).at([0])) == [first]
    assert load_split(after, "train", load_info(after))[1][:2].tolist() == [(labels[0] + 1) % 10, labels[2]]
    digests = [load_info(folder).sha256 for folder in (before, after)]
    assert digests[0]["train"] != digests[1]["train"]
    assert digests[0]["test"] == digests[1]["test"]
