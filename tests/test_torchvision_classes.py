import gzip
import hashlib

import numpy as np
import pytest
import yaml
from PIL import Image
from torchvision import datasets
from torchvision.datasets import utils

from src.downloads import NotFetchedError
from src.errors import MnistryError
from src.sources import open_source


def idx(array):
    """An array in the IDX format of MNIST's archives, compressed."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A mirror with MNIST archives of 4 and 2 images of 3x5 pixels, whose checksums torchvision's class expects."""
    generator = np.random.default_rng(0)
    arrays = {
        "train": generator.integers(0, 256, (4, 3, 5), np.uint8),
        "t10k": generator.integers(0, 256, (2, 3, 5), np.uint8),
    }
    files = {}
    for name, images in arrays.items():
        files[f"{name}-images-idx3-ubyte.gz"] = idx(images)
        files[f"{name}-labels-idx1-ubyte.gz"] = idx(np.arange(len(images), dtype=np.uint8))
    mirror = tmp_path / "mirror" / "tiny"
    mirror.mkdir(parents=True)
    for name, content in files.items():
        (mirror / name).write_bytes(content)
    checksums = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    monkeypatch.setattr(datasets.MNIST, "resources", checksums)
    # Closed ports: a test that went past its mirror would be refused at once.
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/", "http://localhost:9/"])
    monkeypatch.setenv("MNISTRY_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr("src.downloads.BACKOFF_SECONDS", 0)
    return arrays


def source_of(tmp_path, name="tiny", **changes):
    """A source of the class with changes to its source.yaml."""
    folder = tmp_path / "sources" / name
    folder.mkdir(parents=True, exist_ok=True)
    content = {"torchvision": "MNIST", "train": {"train": True}, "test": {"train": False}} | changes
    (folder / "source.yaml").write_text(yaml.safe_dump(content))
    return open_source(folder)


def read(raw):
    """What the raw folder holds, and each split's images."""
    with open_source(raw).read(raw.parent) as dataset:
        return dataset, {name: np.concatenate(list(split.chunks)) for name, split in dataset.splits.items()}


def raw_folder(tmp_path):
    """An empty folder to download into."""
    raw = tmp_path / "raw" / "tiny"
    raw.mkdir(parents=True, exist_ok=True)
    return raw


def test_archives_come_from_the_mirror_and_are_read_by_the_class(tmp_path, tiny):
    """The raw folder holds the source's own archives and source.yaml; images and labels are those of the archives."""
    source, raw = source_of(tmp_path), raw_folder(tmp_path)
    source.download(raw)
    archives = [name for name, _ in datasets.MNIST.resources]
    assert sorted(path.name for path in raw.rglob("*.*")) == sorted([*archives, "source.yaml"])
    assert list(raw.parent.iterdir()) == [raw]
    dataset, images = read(raw)
    np.testing.assert_array_equal(images["train"], tiny["train"][:, None])
    np.testing.assert_array_equal(images["test"], tiny["t10k"][:, None])
    assert dataset.splits["train"].labels.tolist() == [0, 1, 2, 3]
    assert dataset.shape == (1, 3, 5)
    assert dataset.class_names[3] == "3 - three"


@pytest.mark.parametrize("layout", ["tree", "CSVs"])
def test_images_of_the_archives_give_the_archives_arrays(tmp_path, tiny, layout):
    """As PNG files in either layout, numbered in the archives' order: the same bytes."""
    source = source_of(tmp_path)
    source.download(raw_folder(tmp_path))
    expected, arrays = read(raw_folder(tmp_path))
    folder, raw = tmp_path / "sources/images", tmp_path / "raw/images"
    raw.mkdir()
    for split, images in arrays.items():
        rows = "filepath,label\n"
        for i, (image, label) in enumerate(zip(images, expected.splits[split].labels, strict=True)):
            path = folder / split / (str(label) if layout == "tree" else "") / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(path)
            rows += f"{path.relative_to(folder)},{label}\n"
        if layout == "CSVs":
            (folder / f"{split}.csv").write_text(rows)
    open_source(folder).download(raw)
    dataset, actual = read(raw)
    for split, images in arrays.items():
        assert actual[split].tobytes() == images.tobytes()
        assert dataset.splits[split].labels.tobytes() == expected.splits[split].labels.tobytes()


def test_labels_may_count_from_1_and_images_be_transposed(tmp_path, tiny):
    """As in EMNIST; class names come from source.yaml."""
    source_of(tmp_path, transpose=True, class_names=["a", "b", "c", "d"]).download(raw_folder(tmp_path))
    dataset, images = read(raw_folder(tmp_path))
    np.testing.assert_array_equal(images["train"], tiny["train"].transpose(0, 2, 1)[:, None])
    assert dataset.shape == (1, 5, 3)
    assert dataset.class_names == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first_label": 1, "class_names": ["a", "b", "c", "d"]}, "are -1 to 2, but there are 4 class names"),
        ({"class_names": ["a", "b", "c"]}, "are 0 to 3, but there are 3 class names"),
    ],
)
def test_labels_without_a_class_name_are_refused(tmp_path, tiny, changes, message):
    """Those below the first class, and those after the last one, even if only by one."""
    source_of(tmp_path, **changes).download(raw_folder(tmp_path))
    with pytest.raises(MnistryError, match=f"labels of the train split {message}"):
        read(raw_folder(tmp_path))


def test_torchvision_is_left_as_it_was(tmp_path, tiny, monkeypatch):
    """Also after a failure: others in this process may download with it."""
    original = utils.download_url
    source_of(tmp_path).download(raw_folder(tmp_path))
    assert utils.download_url is original
    monkeypatch.delenv("MNISTRY_MIRROR")
    with pytest.raises(NotFetchedError):
        source_of(tmp_path).download(tmp_path)
    assert utils.download_url is original


def test_sources_own_mirrors_are_tried_too(tmp_path, tiny, monkeypatch):
    """After MNISTRY_MIRROR, before torchvision's."""
    monkeypatch.delenv("MNISTRY_MIRROR")
    source_of(tmp_path, mirrors=[str(tmp_path / "none"), str(tmp_path / "mirror" / "tiny")]).download(
        raw_folder(tmp_path)
    )
    assert len(list(raw_folder(tmp_path).rglob("*.gz"))) == 4


def test_damaged_archive_and_no_network_name_all_that_was_tried(tmp_path, tiny):
    """The damaged one isn't taken; two lines say what each place answered and what to do."""
    archive = tmp_path / "mirror" / "tiny" / "train-images-idx3-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(MnistryError) as error:
        source_of(tmp_path).download(raw_folder(tmp_path))
    tried, advice = str(error.value).splitlines()
    assert "tiny: could not get train-images-idx3-ubyte.gz" in tried
    assert f"{archive}: a damaged file (MD5" in tried
    assert "http://127.0.0.1:9/train-images-idx3-ubyte.gz: no connection" in tried
    assert "http://localhost:9/train-images-idx3-ubyte.gz: no connection" in tried
    assert "Set MNISTRY_MIRROR" in advice
    assert "dataset=digits" in advice


def test_raw_archive_damaged_later_is_refused(tmp_path, tiny):
    """Reading verifies again."""
    source, raw = source_of(tmp_path), raw_folder(tmp_path)
    source.download(raw)
    damaged = next(raw.rglob("train-labels*"))
    damaged.write_bytes(b"")
    with pytest.raises(MnistryError, match="missing or damaged; run `dvc repro --force download`"):
        read(raw)


def test_class_without_download_in_colour(tmp_path):
    """FakeData makes its images: 3x32x32, its labels in range."""
    arguments = {"image_size": [3, 32, 32], "num_classes": 7}
    source = source_of(tmp_path, torchvision="FakeData", arguments=arguments, train={"size": 20}, test={"size": 9})
    raw = raw_folder(tmp_path)
    source.download(raw)
    dataset, images = read(raw)
    assert images["train"].shape == (20, 3, 32, 32)
    assert images["test"].shape == (9, 3, 32, 32)
    assert dataset.shape == (3, 32, 32)
    assert dataset.class_names[0] == "0"
    assert 0 <= dataset.splits["train"].labels.min() <= dataset.splits["train"].labels.max() < 7


def test_source_yaml_may_name_a_validation_split(tmp_path):
    """PCAM and others have one; its images are opened with arguments of their own."""
    sizes = {"train": {"size": 20}, "validation": {"size": 7}, "test": {"size": 9}}
    arguments = {"image_size": [1, 4, 4], "num_classes": 3}
    source_of(tmp_path, torchvision="FakeData", arguments=arguments, **sizes).download(raw_folder(tmp_path))
    dataset, images = read(raw_folder(tmp_path))
    assert {name: len(split) for name, split in images.items()} == {"train": 20, "validation": 7, "test": 9}
    assert dataset.splits["validation"].files[6] == "validation/6"


def test_empty_validation_split_is_named(tmp_path):
    """As the others are."""
    sizes = {"train": {"size": 2}, "validation": {"size": 0}, "test": {"size": 2}}
    source_of(tmp_path, torchvision="FakeData", **sizes).download(raw_folder(tmp_path))
    with pytest.raises(MnistryError, match="tiny: no images in the validation split; fix validation in source"):
        read(raw_folder(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"torchvision": "MNISTT"}, r"torchvision has no dataset 'MNISTT'; did you mean \w*MNIST\?"),
        ({"torchvision": "VisionDataset"}, "torchvision has no dataset 'VisionDataset'"),
        ({"torchvision": "ImageFolder"}, "torchvision has no dataset 'ImageFolder'"),
        ({"arguments": {"colour": True}}, "torchvision's MNIST: .*colour"),
        ({"mirror": ["x"]}, r"mirror is not a known key; did you mean mirrors\?"),
        ({"train": 5}, "train is 5; expected"),
    ],
)
def test_mistakes_in_source_yaml_are_named(tmp_path, tiny, changes, message):
    """The key, the value and what would do."""
    with pytest.raises(MnistryError, match=message):
        source_of(tmp_path, **changes).download(raw_folder(tmp_path))


@pytest.mark.parametrize("sizes", [[(3, 8, 8), (3, 9, 9)], [(3, 8, 4), (3, 4, 8)]])
def test_splits_of_two_sizes_are_refused(tmp_path, sizes):
    """Also where as many bytes would be as many other pixels."""
    splits = {
        split: {"size": 2, "image_size": list(size)} for split, size in zip(("train", "test"), sizes, strict=True)
    }
    source = source_of(tmp_path, torchvision="FakeData", **splits)
    source.download(raw_folder(tmp_path))
    with pytest.raises(MnistryError, match=r"images of several sizes \(height, width, channels\)"):
        read(raw_folder(tmp_path))


def test_chunks_of_two_sizes_are_refused(tmp_path, monkeypatch):
    """Each chunk by itself is of one."""
    monkeypatch.setattr("src.sources.torchvision_classes.CHUNK_IMAGES", 1)
    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda _, i: (Image.new("L", ((2, 4), (4, 2))[i]), i))
    source = source_of(tmp_path, torchvision="FakeData", train={"size": 2}, test={"size": 2})
    source.download(raw_folder(tmp_path))
    with pytest.raises(MnistryError, match=r"images of several sizes .*\(2, 4, 1\), \(4, 2, 1\)"):
        read(raw_folder(tmp_path))


@pytest.mark.parametrize("split", ["train", "test"])
def test_empty_split_is_named(tmp_path, split):
    """FakeData makes as many images as it is asked for."""
    sizes = {"train": {"size": 2}, "test": {"size": 2}} | {split: {"size": 0}}
    source = source_of(tmp_path, torchvision="FakeData", **sizes)
    source.download(raw_folder(tmp_path))
    with pytest.raises(MnistryError, match=f"tiny: no images in the {split} split"):
        read(raw_folder(tmp_path))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("Dataset not found.\nDownload it"), r"Dataset not found\. Download it"),
        (ModuleNotFoundError("No module named 'lmdb'"), "No module named 'lmdb'"),
        (FileNotFoundError("Couldn't find any class folder"), "Couldn't find any class folder"),
    ],
)
def test_class_that_cannot_be_used_is_named(tmp_path, monkeypatch, error, reason):
    """As ImageNet, LSUN and HMDB51 can't; the reason is torchvision's."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(datasets.FakeData, "__init__", fail)
    with pytest.raises(MnistryError, match=f"tiny: torchvision's FakeData: {reason}$"):
        source_of(tmp_path, torchvision="FakeData").download(raw_folder(tmp_path))


def test_class_that_is_not_for_classification_is_named(tmp_path, monkeypatch):
    """Its targets are images, boxes or texts."""
    monkeypatch.setattr(datasets.FakeData, "__getitem__", lambda *_: (Image.new("L", (2, 2)), {"boxes": []}))
    source = source_of(tmp_path, torchvision="FakeData", train={"size": 2}, test={"size": 2})
    source.download(raw_folder(tmp_path))
    with pytest.raises(MnistryError, match="torchvision's FakeData gives no class number for each image"):
        read(raw_folder(tmp_path))
