"""Archives that come from anywhere."""

import gzip
import io
import re
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest

from src.sources import archives
from tests.image_files import load, png, problems_of, put, put_classes, put_images

MODES: dict[str, Literal["w", "w:gz", "w:bz2", "w:xz"]] = {
    "tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tbz2": "w:bz2", "tar.xz": "w:xz", "txz": "w:xz",
}  # fmt: skip
"""How tarfile writes each kind of archive."""
FORMATS = {"zip": "zip", "tar": "tar", "tar.gz": "gztar", "tar.bz2": "bztar", "tar.xz": "xztar"}
"""What shutil calls each of them."""


def zip_folder(source: Path, archive: Path, top: str = "") -> None:
    """Pack all files of the folder into a zip archive, below the folder `top`, and remove them."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                file.write(path, top + path.relative_to(source).as_posix())
    shutil.rmtree(source)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz"])
@pytest.mark.parametrize("top", ["", "dataset/"])
@pytest.mark.parametrize("layout", ["tree", "CSV"])
def test_archive_gives_what_the_folder_gives(folder, tmp_path, kind, top, layout):
    """With or without a folder of its own inside."""
    put_classes(folder, "a", "b")
    if layout == "CSV":
        put(folder, "labels.csv", "".join(f"{'ab'[i % 2]}/{i}.png,{i % 3}\n" for i in range(10)))
    expected = load(folder)
    archived = tmp_path / "sources" / "archived"
    archived.mkdir()
    files = [path for path in folder.rglob("*") if path.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(archived / "all.zip", "w") as archive:
            for file in files:
                archive.write(file, top + file.relative_to(folder).as_posix())
    else:
        with tarfile.open(archived / f"all.{kind}", MODES[kind]) as archive:
            for file in files:
                archive.add(file, top + file.relative_to(folder).as_posix())
    actual = load(archived, "raw2")
    assert actual[:2] == expected[:2]
    for split in ("train", "test"):
        np.testing.assert_array_equal(actual[2][split][0], expected[2][split][0])


@pytest.mark.parametrize(("train", "test"), [("", ""), ("train/", "test/"), ("", "test/")])
def test_one_archive_per_split(folder, train, test):
    """Each with a folder of the split's name inside or without one."""
    for split, top, count in (("train", train, 4), ("test", test, 2)):
        put_classes(folder / split, "a", "b", count=count)
        zip_folder(folder / split, folder / f"{split}.zip", top)
    class_names, _, splits = load(folder)
    assert class_names == ("a", "b")
    assert {split: len(images[1]) for split, images in splits.items()} == {"train": 8, "test": 4}


def test_table_next_to_an_archive_labels_its_images(folder):
    """Kaggle's train.csv and train.zip; the splits are drawn as always."""
    put_images(folder / "train", 10)
    zip_folder(folder / "train", folder / "train.zip", "train/")
    put(folder, "train.csv", "id,breed\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(10)))
    class_names, _, splits = load(folder)
    assert class_names == ("a", "b")
    assert [grey % 2 for grey in splits["train"][0][:, 0, 0, 0].tolist()] == splits["train"][1]


def test_what_is_no_image_next_to_an_archive_is_passed_over(folder, capsys):
    """It can't be removed from a bucket that is imported."""
    put_classes(folder / "all", "a", "b")
    zip_folder(folder / "all", folder / "all.zip")
    put(folder, "README.md", "x")
    put(folder, "LICENSE", "x")
    assert load(folder)[0] == ("a", "b")
    assert "note: not images, passed over: LICENSE, README.md\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "link"])
def test_archive_member_that_leaves_the_archive_is_refused(folder, name):
    """In either kind; a symbolic link, too."""
    link = name == "link"
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = (stat.S_IFLNK if link else stat.S_IFREG) << 16
        archive.writestr(member, "../../outside" if link else png())
    assert f"member {name} leads out of the archive" in problems_of(folder)
    (folder / "all.zip").unlink()
    with tarfile.open(folder / "all.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        if link:
            info.type, info.linkname = tarfile.SYMTYPE, "../../outside"
        tar.addfile(info)
    assert f"member {name} leads out of the archive" in problems_of(folder)


def test_hidden_files_of_an_archive_are_ignored(folder):
    """Such as those that macOS puts next to the one folder."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for i in range(4):
            archive.writestr(f"flowers/{'ab'[i % 2]}/{i}.png", png(i))
        for name in ("__MACOSX/flowers/a/._0.png", ".DS_Store", "flowers/.DS_Store", "flowers/a/Thumbs.db"):
            archive.writestr(name, "x")
    assert load(folder)[0] == ("a", "b")


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.LNKTYPE, "../../outside"),
        (tarfile.LNKTYPE, "/etc/passwd"),
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.CHRTYPE, ""),
        (tarfile.BLKTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_archive_member_that_is_not_a_file_is_refused(folder, kind, target):
    """Hard and symbolic links out of it, devices, pipes."""
    with tarfile.open(folder / "all.tar", "w") as archive:
        member = tarfile.TarInfo("a/0.png")
        member.type, member.linkname = kind, target
        archive.addfile(member)
    assert "member a/0.png leads out of the archive or is not a file; leave it out" in problems_of(folder)


def test_tar_with_a_link_to_no_member_is_refused(folder):
    """A hard link to what isn't there, of which tarfile has an error of its own."""
    with tarfile.open(folder / "all.tar", "w") as archive:
        member = tarfile.TarInfo("a/0.png")
        member.type, member.linkname = tarfile.LNKTYPE, "a/1.png"
        archive.addfile(member)
    assert "all.tar: damaged or cut off" in problems_of(folder)


def test_tar_with_two_members_of_one_name_is_refused(folder):
    """One would silently replace the other."""
    with tarfile.open(folder / "all.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a/0.png"))
    assert "member a/0.png appears twice; expected once" in problems_of(folder)


def test_archive_that_this_system_cannot_hold_is_not_called_damaged(folder):
    """A name that is too long here; a full disk ends the same way."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr(f"a/{'x' * 300}.png", png())
    message = problems_of(folder)
    assert "x.png: file name too long" in message
    assert "damaged" not in message


def test_zip_with_backslashes_is_read(folder):
    """Some programs of Windows write them in place of slashes."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for i in range(4):
            member = zipfile.ZipInfo()
            member.filename = f"{'ab'[i % 2]}\\{i}.png"
            archive.writestr(member, png(i))
    assert load(folder)[0] == ("a", "b")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("part", ["half", "without its end"])
def test_archive_that_is_cut_off_is_refused(folder, tmp_path, kind, part):
    """A tar file also where the cut is between two members, which tarfile takes for the end."""
    put_classes(tmp_path / "whole", "a", "b", count=20)
    name = shutil.make_archive(str(tmp_path / "all"), FORMATS[kind], tmp_path / "whole")
    content = Path(name).read_bytes()
    size = len(content) // 2
    if part == "without its end":
        size = len(content) - 8
        if kind == "tar":
            with tarfile.open(name) as archive:
                size = archive.getmembers()[-1].offset
    put(folder, f"all.{kind}", content[:size])
    assert f"all.{kind}: damaged or cut off" in problems_of(folder)


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_archive_with_other_bytes_in_the_middle_is_refused(folder, tmp_path, kind):
    """By every kind's own check."""
    put(tmp_path / "whole", "a/0.png", np.random.default_rng(0).bytes(50_000))
    content = bytearray(
        Path(shutil.make_archive(str(tmp_path / "all"), FORMATS[kind], tmp_path / "whole")).read_bytes()
    )
    middle = len(content) // 2
    content[middle : middle + 100] = bytes(100)
    put(folder, f"all.{kind}", bytes(content))
    assert f"all.{kind}: damaged or cut off" in problems_of(folder)


@pytest.mark.parametrize("damage", ["zeroed header", "two archives in a row"])
@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_tar_with_more_data_after_its_end_is_refused(folder, tmp_path, kind, damage):
    """What appears there would be lost."""
    put_classes(tmp_path / "whole", "a", "b", count=20)
    name = shutil.make_archive(str(tmp_path / "all"), "tar", tmp_path / "whole")
    content = bytearray(Path(name).read_bytes())
    with tarfile.open(name) as archive:
        start = archive.getmembers()[20].offset
    if damage == "zeroed header":
        content[start : start + 1024] = bytes(1024)
    else:
        content = content * 2
    put(folder, f"all.{kind}", gzip.compress(content) if kind == "tar.gz" else bytes(content))
    message = problems_of(folder)
    assert f"all.{kind}: damaged or cut off (more data after the end marker); get it again" in message


class UnflaggedInfo(zipfile.ZipInfo):
    """A member whose name is UTF-8 without the flag that says so, as Linux's zip and macOS write it."""

    encoding = "utf-8"

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode(self.encoding), self.flag_bits & ~0x800


def test_zip_with_unflagged_utf_8_names_is_read(folder):
    """Python by itself takes them for CP437."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        for i in range(4):
            archive.writestr(UnflaggedInfo(f"{'éお'[i % 2]}/{i}.png"), png(i))
    assert load(folder)[0] == ("é", "お")


def test_zip_with_names_in_another_encoding_is_refused(folder, monkeypatch):
    """Which one, nothing says."""
    monkeypatch.setattr(UnflaggedInfo, "encoding", "cp932")
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr(UnflaggedInfo("お/0.png"), png())
    message = problems_of(folder)
    assert r"member b'\x82\xa8/0.png': a name that isn't UTF-8; pack it again with UTF-8 names" in message


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_member_that_is_a_file_and_a_folder_is_named(folder, kind):
    """By its name in the archive."""
    for name in ("a", "a/0.png"):
        if kind == "zip":
            with zipfile.ZipFile(folder / "all.zip", "a") as archive:
                archive.writestr(name, png())
        else:
            with tarfile.open(folder / "all.tar", "a") as archive:
                archive.addfile(tarfile.TarInfo(name))
    message = problems_of(folder)
    assert re.search(
        rf"all.{kind}: member a(/0.png)?: a file and a folder of the same name; rename one of them", message
    )


def zip_with_header(offset: int, value: int) -> bytes:
    """An archive of one image with a byte of its header set, and its twin in the archive's list, two bytes on."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/0.png", png())
    content = bytearray(buffer.getvalue())
    for signature, place in ((b"PK\x03\x04", offset), (b"PK\x01\x02", offset + 2)):
        content[content.index(signature) + place] = value
    return bytes(content)


def test_zip_with_an_uncommon_compression_is_refused(folder):
    """Its number is 97."""
    put(folder, "all.zip", zip_with_header(8, 97))
    message = problems_of(folder)
    assert "pack it with the common compression, deflate" in message
    assert "password" not in message


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archive_that_the_disk_cannot_hold_is_refused(folder, tmp_path, monkeypatch, kind):
    """Before it is filled."""
    put_classes(tmp_path / "whole", "a", "b")
    put(tmp_path / "whole", "a/big.png", bytes(5000))
    shutil.move(shutil.make_archive(str(tmp_path / "all"), kind, tmp_path / "whole"), folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4000))
    message = problems_of(folder)
    assert re.search(r"takes 5,[0-9]{3} bytes unpacked, and 4,000 are free on the disk; make room", message)


def test_zip_with_two_members_of_one_name_is_refused(folder):
    """One would silently replace the other."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("a/0.png", png(1))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/0.png", png(2))
        archive.writestr("./b//0.png", png(1))
        archive.writestr("b/0.png", png(2))
    message = problems_of(folder)
    assert "member a/0.png appears 2 times; expected once" in message
    assert "member b/0.png appears 2 times; expected once" in message


def test_zip_with_a_password_is_refused(folder):
    """The lowest flag is that of encryption."""
    put(folder, "all.zip", zip_with_header(6, 1))
    assert "pack it without a password" in problems_of(folder)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"all.zip": b"PK\x03\x04 cut off"}, "all.zip: damaged or cut off"),
        ({"all.tar.gz": b"\x1f\x8b\x08 cut off"}, "all.tar.gz: damaged or cut off"),
    ],
)
def test_damaged_archive_is_named(folder, files, expected):
    """Of every kind."""
    for name, content in files.items():
        put(folder, name, content)
    assert expected in problems_of(folder)


@pytest.fixture
def small_limit(monkeypatch):
    """Archives may grow a hundredfold from 100 KB on."""
    monkeypatch.setattr(archives, "MUCH", 100_000)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], end: bytes = bytes(1024)) -> bytes:
    """A gzipped tar of the members' headers, each followed by the bytes, whatever size it states."""
    return gzip.compress(b"".join(member.tobuf(tarfile.GNU_FORMAT) + content for member, content in members) + end)


def entry(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """A header."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member


@pytest.mark.parametrize(
    "content",
    [
        tar_of((entry("a/0.png", 10**7), bytes(10**7))),
        tar_of((entry("a/0.png", 10**6), bytes(10**6)), end=bytes(10**7)),
        tar_of((entry("a", 10**7, tarfile.FIFOTYPE), bytes(10**7))),
        tar_of((entry("a/0.png", 10**9), b"")),
    ],
    ids=["a member", "after the end", "before a member", "announced"],
)
def test_tar_that_grows_a_thousandfold_is_refused(folder, small_limit, content):
    """Wherever in it the many bytes are, before the disk is full; ours stops early."""
    put(folder, "mine.tar.gz", content)
    problem = problems_of(folder)
    assert "bytes that unpack to" in problem or "damaged" in problem
    assert len(problem) < 500


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_header_of_gigabytes_is_not_read(folder, kind):
    """Python's tarfile reads the text of such a header at once."""
    put(folder, "mine.tar.gz", tar_of((entry("x", 1 << 33, kind), b"")))
    assert "damaged or cut off (a header that is too large)" in problems_of(folder)


def test_zip_that_grows_a_thousandfold_is_refused(folder, small_limit):
    """By the sizes that its directory states; unpacking stops at those."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(10**7))
    put(folder, "mine.zip", file.getvalue())
    assert re.search(
        r"mine\.zip: [\d,]+ bytes that unpack to 10,000,000 or more; expected at most 100", problems_of(folder)
    )


@pytest.mark.parametrize("name", ["", "/", "."])
def test_zip_member_without_a_name_is_refused(folder, name):
    """Python raises IndexError for it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        member = zipfile.ZipInfo("x")
        member.filename = name
        archive.writestr(member, b"")
        archive.writestr("a/0.png", png())
    put(folder, "mine.zip", file.getvalue())
    assert f"member {name!r} has no name; leave it out" in problems_of(folder)
