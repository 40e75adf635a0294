"""Files that can't be read, named as what they are."""

import pytest

from tests.image_files import problems_of, put, put_classes

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("name", ["a/0.png", "train.csv", "all.zip", "mnist.npz", "train-images-idx3-ubyte"])
def test_pointers_of_git_lfs_are_named(folder, name):
    """In place of an image, a table, an archive or an array."""
    if name.endswith(".png"):
        put_classes(folder, "a", "b")
    put(folder, name, POINTER)
    assert "a pointer of Git LFS, not the file itself; run `git lfs pull`" in problems_of(folder)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("data/train-00000-of-00001.parquet", b"PAR1", "a Parquet table; save what is in it as images"),
        ("train.7z", b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
        ("images.rar", b"Rar!\x1a\x07", "a RAR archive; unpack it"),
        ("train_32x32.mat", b"MATLAB 5.0 MAT-file", "a MATLAB file; save"),
        ("signs.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file; save"),
        ("train.csv.gz", b"\x1f\x8b", "a compressed table; unpack it with gunzip"),
        ("data_batch_1", b"\x80\x02}q\x01", "a pickle, which could run code and is never read; save"),
        ("training.pt", b"PK\x03\x04", "PyTorch's file, a pickle, which could run code and is never read"),
        ("mnist-train.tfrecord-00000-of-00001", b"\xff\xfe", "TensorFlow records; save"),
        ("train_lmdb/data.mdb", b"\0\0", "an LMDB database; save"),
    ],
)
def test_formats_that_are_not_read_are_named(folder, name, content, expected):
    """With what to do; a line per kind, with the number of files."""
    put(folder, name, content)
    put(folder, f"other/{name}", content)
    message = problems_of(folder)
    assert "mine: 1 problem" in message
    assert f"{name} and 1 more: {expected}" in message


def test_other_formats_next_to_images_do_not_keep_them_from_being_read(folder):
    """Only where nothing else is there are they the dataset; a photograph of a phone is named among images."""
    put_classes(folder, "a", "b")
    put(folder, "setid.mat", b"MATLAB 5.0 MAT-file")
    put(folder, "a/9.heic", b"\0\0\0\x18ftypheic")
    message = problems_of(folder)
    assert "mine: 1 problem" in message
    assert "a/9.heic: not an image that can be read; it is a HEIC photograph; save it as JPEG" in message
