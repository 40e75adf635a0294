"""`python -m commands.predict --output`: many images, in memory that doesn't grow, interrupted, in parts."""

import json
from itertools import count
from pathlib import Path

import pytest
import torch

from commands import predict
from src import bulk
from src.bulk import classify_into, cut_unfinished_line, image_files
from src.errors import MnistryError
from tests.test_predict import dark_or_light, grey, model, run

__all__ = ["model"]


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder of 25 images in folders, one of them damaged; chunks are of 4."""
    monkeypatch.setattr(bulk, "CHUNK", 4)
    for number in range(24):
        grey(tmp_path / "images" / f"{number % 3}" / f"{number}.png", number * 10)
    (tmp_path / "images" / "1" / "bad.png").write_text("no image")
    (tmp_path / "images" / "1" / "notes.txt").write_text("no image")
    return tmp_path / "images"


def lines(path):
    """What the lines of the file hold."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_it_computes_as_evaluate_does(model, images, tmp_path, monkeypatch):
    """Prepared as a stage is: on CUDA, float32 would be rounded otherwise."""
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", True)
    run(monkeypatch, "--classifier", model, "--output", str(tmp_path / "all.jsonl"), str(images))
    assert not torch.backends.cudnn.allow_tf32


def test_every_image_has_its_line(model, images, tmp_path, monkeypatch, capsys):
    """In order, with what predict prints of it; a damaged one with what is wrong; the counts at the end."""
    output = tmp_path / "out" / "all.jsonl"
    assert run(monkeypatch, "--classifier", model, "--output", str(output), str(images)) == 1
    said = capsys.readouterr().out
    assert said.startswith(f"{output}: 25 images, ")
    assert "; 1 could not be read, 0 look unfamiliar, " in said
    run(monkeypatch, "--classifier", model, "--json", str(images))
    out, errors = capsys.readouterr()
    printed = {line["file"]: line for line in map(json.loads, out.splitlines())}
    written = lines(output)
    assert [line["file"] for line in written] == [str(path) for path in image_files(images)]
    assert [name for name in (line["file"] for line in written) if name in printed] == list(printed)
    for line in written:
        if "error" in line:
            assert f"error: {line['error']}" in errors
        else:
            assert line["predictions"][0]["class"] == printed[line["file"]]["predictions"][0]["class"]
            assert line["inverted"] == (f"warning: {line['file']}: light and dark look swapped" in errors)
    assert sum(line.get("inverted", False) for line in written) > 5


def test_interrupted_run_goes_on_where_it_was(model, images, tmp_path, monkeypatch, capsys):
    """Amid a line: the same bytes in the end, and nothing of the other runs but the file."""
    output, classify = tmp_path / "out" / "all.jsonl", bulk.classify
    arguments = ("--classifier", model, "--output", str(output), str(images))
    run(monkeypatch, *arguments)
    whole = output.read_bytes()
    output.unlink()

    def interrupted(classifier, chunk, top):
        yield from classify(classifier, chunk, top)
        if any(name.endswith("17.png") for name, _ in chunk):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bulk, "classify", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(monkeypatch, *arguments)
    (unfinished,) = output.parent.iterdir()
    unfinished.write_bytes(unfinished.read_bytes()[:-9])
    capsys.readouterr()
    run(monkeypatch, *arguments)
    said = capsys.readouterr().out
    assert "images, 19 of them by an earlier run, " in said
    assert "; 1 could not be read" in said
    assert output.read_bytes() == whole
    assert list(output.parent.iterdir()) == [output]


def test_other_files_or_another_classifier_are_not_mixed(model, images, tmp_path):
    """What is unfinished is named where the folder has changed; with another key, it isn't looked at."""
    classifier, output, files = dark_or_light(), tmp_path / "all.jsonl", list(image_files(images))
    (tmp_path / ".all.jsonl.abc.partial").write_text(json.dumps({"file": str(files[1])}) + "\n")
    with pytest.raises(MnistryError, match=r"\.all\.jsonl\.abc\.partial: goes on after .+; remove it to start afresh"):
        classify_into(output, classifier, files, "abc", 1)
    assert classify_into(output, classifier, files, "abd", 1).images == 25


def test_folder_as_output_is_refused_at_once(model, tmp_path):
    """Before any image is classified, whose lines could not be written there."""
    for folder in (tmp_path, Path()):
        with pytest.raises(MnistryError, match=r": a folder; expected a file to write, such as .*predictions\.jsonl$"):
            classify_into(folder, dark_or_light(), iter(lambda: pytest.fail("looked for images"), None), "abc", 1)


def test_damaged_unfinished_file_is_named(model, images, tmp_path):
    """As a computer leaves it that lost its power."""
    for content in (b"\0\0\n", b"[]\n", b"\xff\n", b"7\n"):
        (tmp_path / ".all.jsonl.abc.partial").write_bytes(content)
        with pytest.raises(MnistryError, match=r"\.all\.jsonl\.abc\.partial: line 1 is damaged; remove the file to "):
            classify_into(tmp_path / "all.jsonl", dark_or_light(), image_files(images), "abc", 1)


def test_parts_are_disjoint_and_complete(model, images, tmp_path, monkeypatch):
    """Wherever the folder is, the same images are of a part."""
    found = []
    for folder in (images, tmp_path / "moved"):
        images.rename(folder)
        images = folder
        for number in (1, 2, 3):
            output = tmp_path / f"{number}.jsonl"
            run(monkeypatch, "--classifier", model, "--output", str(output), "--part", f"{number}/3", str(images))
            found.append([line["file"].removeprefix(str(images)) for line in lines(output)])
    expected = [str(path).removeprefix(str(images)) for path in image_files(images)]
    assert sorted(name for part in found[:3] for name in part) == sorted(expected)
    assert all(len(part) > 3 for part in found)
    assert found[:3] == found[3:]


def test_no_more_than_a_few_chunks_are_held(monkeypatch, tmp_path):
    """Names are asked for as images are classified: after each chunk, only those that wait for a core are ahead."""
    asked, ahead = count(), []
    monkeypatch.setattr(bulk, "CHUNK", 5)
    monkeypatch.setattr("src.parallel.available_cores", lambda: 2)
    name = grey(tmp_path / "a.png", 100)

    def names():
        for _ in range(200):
            next(asked)
            yield name

    done = 0
    for chunk in bulk.decoded_chunks(names(), dark_or_light(), False):
        done += len(chunk)
        ahead.append(int(repr(asked)[6:-1]) - done)
    assert done == 200
    assert max(ahead) <= 3 * 2 * 5


def test_unfinished_lines_are_cut(tmp_path):
    """Also a long one, and one that is all there is."""
    path = tmp_path / "lines"
    for content, kept in ((b"a\nb\n", 4), (b"a\nb", 2), (b"a" * 200_000, 0), (b"a\n" + b"b" * 200_000, 2)):
        path.write_bytes(content)
        cut_unfinished_line(path)
        assert path.read_bytes() == content[:kept]
    path.unlink()
    cut_unfinished_line(path)
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "9/8", "--output", "f", "images"], "'9/8'; expected K/N, such as 2/8"),
        (["--part", "1/2", "images"], "--part needs --output FILE"),
        (["--output", "f", "-"], "--output is for image files and folders"),
        (["--output", "f", "--test", "3"], "--output is for image files and folders"),
    ],
)
def test_wrong_arguments_are_said(arguments, message, capsys):
    """With status 2."""
    with pytest.raises(SystemExit) as error:
        predict.parse_arguments(arguments)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
