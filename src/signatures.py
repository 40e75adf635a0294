"""What a file that can't be read looks like, by its first bytes, and what to do with it."""

from pathlib import Path

CONVERT = "save what is in it as images, one folder per class, as .npz or as CSV"
UNPACK = "unpack it, or pack it as .zip or .tar"
SIGNATURES = (
    (
        0,
        b"version https://git-lfs",
        "a pointer of Git LFS, not the file itself; run `git lfs pull` where it comes from",
    ),
    (0, b"<!DOCTYPE html", "a web page; get the file itself"),
    (0, b"<html", "a web page; get the file itself"),
    (0, b"<svg", "an SVG drawing; save it as PNG"),
    (4, b"ftyphei", "a HEIC photograph; save it as JPEG"),
    (4, b"ftypmif1", "a HEIC photograph; save it as JPEG"),
    (4, b"ftyp", "a video; save the images that are meant as PNG or JPEG"),
    (128, b"DICM", "a DICOM image; save it as PNG"),
    (0, b"PAR1", f"a Parquet table; {CONVERT}"),
    (0, b"ARROW1", f"an Arrow table; {CONVERT}"),
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file; {CONVERT}"),
    (0, b"MATLAB 5.0 MAT-file", f"a MATLAB file; {CONVERT}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7-Zip archive; {UNPACK}"),
    (0, b"Rar!\x1a\x07", f"a RAR archive; {UNPACK}"),
    *(
        (0, bytes([0x80, protocol]), f"a pickle, which could run code and is never read; {CONVERT}")
        for protocol in range(2, 6)
    ),
)
"""Where the bytes are, the bytes, and what is said."""
NAMES = {
    ".parquet": f"a Parquet table; {CONVERT}",
    ".arrow": f"an Arrow table; {CONVERT}",
    ".h5": f"an HDF5 file; {CONVERT}",
    ".hdf5": f"an HDF5 file; {CONVERT}",
    ".mat": f"a MATLAB file; {CONVERT}",
    ".7z": f"a 7-Zip archive; {UNPACK}",
    ".rar": f"a RAR archive; {UNPACK}",
    ".pkl": f"a pickle, which could run code and is never read; {CONVERT}",
    ".pickle": f"a pickle, which could run code and is never read; {CONVERT}",
    ".pt": f"PyTorch's file, a pickle, which could run code and is never read; {CONVERT}",
    ".pth": f"PyTorch's file, a pickle, which could run code and is never read; {CONVERT}",
    ".tfrecord": f"TensorFlow records; {CONVERT}",
    ".tfrecords": f"TensorFlow records; {CONVERT}",
    ".tfrec": f"TensorFlow records; {CONVERT}",
    ".mdb": f"an LMDB database; {CONVERT}",
    ".csv.gz": "a compressed table; unpack it with gunzip",
    ".csv.zip": "a compressed table; unpack it",
}
"""What is said of files with these ends of their names, whatever their first bytes are."""


def describe_start(start: bytes) -> str:
    """What a file with these first bytes looks like and what to do with it; empty where they say nothing."""
    return next((what for place, magic, what in SIGNATURES if start[place : place + len(magic)] == magic), "")


def describe_unread(path: Path) -> str:
    """What a file is that no code here reads, and what to do with it; empty where it is none of those known."""
    with path.open("rb") as file:
        if what := describe_start(file.read(140)):
            return what
    # TensorFlow numbers its files behind their ends: train.tfrecord-00000-of-00001.
    name = path.name.lower().partition("-00")[0] if ".tfrec" in path.name.lower() else path.name.lower()
    return next((what for end, what in NAMES.items() if name.endswith(end)), "")
