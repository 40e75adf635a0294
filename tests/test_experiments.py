"""compare and summarize in a small DVC project, with experiments of a stage that trains nothing."""

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

from commands import compare, summarize
from src.errors import MnistryError
from src.experiments import read_experiments, read_history
from src.predictions import COLUMNS
from src.revisions import Revision

HEADER = ",".join(COLUMNS)
NORMALIZE = """
import json, yaml, numpy as np
from pathlib import Path
code = yaml.safe_load(Path("params.yaml").read_text())["code"]
folder = Path("data/normalized/mine")
folder.mkdir(parents=True)
(folder / "dataset.json").write_text(json.dumps({"sha256": {"train": str(code) * 64, "test": str(code) * 64}}))
np.save(folder / "train_images.npy", np.full((40, 1, 8, 8), code, np.uint8))
np.save(folder / "test_images.npy", np.full((40, 1, 8, 8), code, np.uint8))
"""
STAGE = """
import json, yaml
from pathlib import Path
params = yaml.safe_load(Path("params.yaml").read_text())
wrong = params["models"][params["model"]]["wrong"] + params["seed"]
rows = [f"{i},{i}.png,a,{'b' if i < wrong else 'a'},0.9,{0.1 if i < wrong else 0.9}" for i in range(40)]
header = "image,file,actual,predicted,probability,probability_of_actual"
Path("data/predictions.csv").write_text("\\n".join([header, *rows]) + "\\n")
held_out = rows[5 * params["seed"] : 5 * params["seed"] + 10]
Path("data/validation.csv").write_text("\\n".join([header, *held_out]) + "\\n")
Path("metrics").mkdir(exist_ok=True)
Path("metrics/train.json").write_text(json.dumps({"validation_accuracy": 1 - wrong / 80}))
Path("metrics/test.json").write_text(json.dumps({"accuracy": 1 - wrong / 40}))
Path("metrics/history.csv").write_text(f"epoch,train_accuracy,validation_accuracy\\n1,{wrong / 40},\\n")
"""
PIPELINE = """
stages:
  normalize:
    cmd: python normalize.py
    params: [code]
    outs: [data/normalized/mine]
  evaluate:
    cmd: python stage.py
    deps: [data/normalized/mine]
    params: [model, seed, "models.${model}"]
    outs: [data/predictions.csv, data/validation.csv]
    metrics: [metrics/test.json: {cache: false}, metrics/train.json: {cache: false}]
    plots: [metrics/history.csv: {cache: false}]
"""
PARAMS = """
dataset: mine
code: 0
model: linear
seed: 0
models:
  linear:
    wrong: 12
  mlp:
    wrong: 2
"""
NAMES = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project, with the default run committed and the experiments mlp-seed0, mlp-seed1 and pixels."""
    folder = tmp_path_factory.mktemp("project")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_"))}
    environment |= dict.fromkeys(NAMES, "t")

    def run(*command):
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    for name, text in (
        ("normalize.py", NORMALIZE),
        ("stage.py", STAGE),
        ("dvc.yaml", PIPELINE),
        ("params.yaml", PARAMS),
    ):
        (folder / name).write_text(text)
    run("dvc", "repro", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "default")
    run("dvc", "exp", "run", "-q", "-n", "pixels", "-S", "code=1")
    for seed in ("0", "1"):
        run("dvc", "exp", "run", "-q", "-n", f"mlp-seed{seed}", "-S", "code=0", "-S", "model=mlp", "-S", f"seed={seed}")
    return folder


@pytest.fixture
def command(project, monkeypatch, capsys):
    """Run one of the commands there; what it prints."""
    monkeypatch.chdir(project)

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        assert module.main() == 0
        return capsys.readouterr().out

    return run


def test_experiments_are_compared_wherever_they_are(project, command, tmp_path):
    """Neither is checked out; HEAD and the workspace are the default, and the figure shows their images."""
    words = command(compare, "HEAD", "mlp-seed0", "--figure", str(tmp_path / "images.png"))
    assert "of 40 test images, 0 are right in HEAD alone, 10 in mlp-seed0 alone" in words
    assert " ".join(words.split()).endswith(
        "p = 0.002 mlp-seed0 is 25.00 points better than HEAD; 10 images are right in one alone; "
        "this is hardly chance, p = 0.002"
    )
    assert (tmp_path / "images.png").exists()
    content = json.loads(command(compare, "--json"))
    assert content["revisions"] == ["HEAD", "workspace"]
    assert content["accuracy"]["difference"] == pytest.approx(0.225)
    assert content["verdict"].startswith("workspace is 22.50 points better than HEAD")


def test_other_test_images_are_refused(command):
    """By their digests, where files and labels are the same."""
    with pytest.raises(MnistryError, match="differ: the same files and labels, but other pixels") as error:
        command(compare, "HEAD", "pixels")
    assert "HEAD has data/normalized/mine (SHA-256 000000000000) and pixels" in str(error.value)


def test_images_held_out_by_both_are_compared(command, tmp_path, capsys):
    """Seed 0 holds out images 0 to 9, seed 1 images 5 to 14: said so, and the verdict says that it is validation's."""
    words = command(compare, "HEAD", "mlp-seed1", "--validation", "--figure", str(tmp_path / "images.png"))
    assert "of 5 validation images, 0 are right in HEAD alone, 5 in mlp-seed1 alone" in words
    assert "mlp-seed1 is 100.00 points better than HEAD on validation images;" in " ".join(words.split())
    assert (tmp_path / "images.png").exists()
    content = json.loads(command(compare, "HEAD", "mlp-seed0", "--validation", "--json"))
    assert (content["split"], content["images"]) == ("validation", 10)
    with pytest.raises(MnistryError, match="train splits differ: other images, labels or pixels; HEAD has data"):
        command(compare, "HEAD", "pixels", "--validation")


@pytest.mark.parametrize(
    ("splits", "folds", "split"),
    [
        (["train", "test"], 0, "train"),
        (["train", "validation"], 0, "validation"),
        (["train", "validation"], 5, "train"),
    ],
)
def test_images_held_out_are_of_the_own_validation_split_unless_there_are_folds(monkeypatch, splits, folds, split):
    """As the revision's dvc.lock and dataset.json have it."""
    lock = {
        "train": {"params": {"params.yaml": {"seed": 0, "train": {"folds": folds}}}},
        "evaluate": {"deps": [{"path": "data/normalized/mine"}]},
    }
    files = {
        "dvc.lock": yaml.safe_dump({"stages": lock}),
        "data/normalized/mine/dataset.json": json.dumps({"sha256": dict.fromkeys(splits, "0")}),
    }
    monkeypatch.setattr(Revision, "__init__", lambda _: None)
    monkeypatch.setattr(Revision, "read_text", lambda _, path: files[path])
    assert Revision().held_out_of == split  # type: ignore[call-arg]


class FakeRevision:
    """A revision that held out images 0.png to 3.png, or others."""

    dataset = "data/normalized/mine"

    def __init__(self, name, *files):
        self.name = name
        self.text = "".join(
            [
                f"{HEADER}\n",
                *(f"{i},{file},a,a,0.9,0.9\n" for i, file in enumerate(files or map("{}.png".format, range(4)))),
            ]
        )

    def read_text(self, path):
        """The predictions for those images."""
        assert path == "data/validation.csv"
        return self.text

    def sha256(self):
        """Not in DVC's cache."""
        return {}


def test_other_held_out_images_are_said(capsys):
    """The same are compared without a word; a warning counts what is left out; none in both is an error."""

    def load(name: str, *files: str) -> Any:
        first: Any = FakeRevision("main")
        second: Any = FakeRevision(name, *files)
        return compare.load_pair(first, second, "validation")

    load("same")
    assert capsys.readouterr().err == ""
    pair = load("cnn", "9.png", "3.png", "2.png")
    assert [each.files.tolist() for each in pair] == [["2.png", "3.png"]] * 2
    assert capsys.readouterr().err == "warning: main held out 4 images, cnn 3; compared on 2 in both\n"
    with pytest.raises(MnistryError, match="main held out 4 images, fold1 1, and none is in both; compare runs of the"):
        load("fold1", "7.png")


def test_missing_revisions_and_files_are_said_in_one_line(project, monkeypatch, tmp_path):
    """A wrong name, a file that no revision has, and predictions that the cache lacks."""
    monkeypatch.chdir(project)
    with pytest.raises(MnistryError, match=r"nonesuch: unknown Git revision .* expected a Git revision"):
        Revision("nonesuch")
    with pytest.raises(MnistryError, match=r"HEAD: data/nonesuch.csv: no such file in that revision"):
        Revision("HEAD").open("data/nonesuch.csv")
    shutil.move(project / ".dvc/cache/files", tmp_path / "files")
    try:
        with pytest.raises(
            MnistryError, match=r"mlp-seed1: data/predictions.csv is not in DVC's cache; run `dvc pull`"
        ):
            Revision("mlp-seed1").read_text("data/predictions.csv")
    finally:
        shutil.move(tmp_path / "files", project / ".dvc/cache/files")


def test_experiments_are_read_with_params_and_metrics(project, monkeypatch):
    """Those of HEAD; nested params get dotted names, and empty cells of the history are left out."""
    monkeypatch.chdir(project)
    runs, others = read_experiments([])
    assert [run.name for run in runs] == ["mlp-seed0", "mlp-seed1", "pixels"]
    assert others == []
    assert runs[1].params == {
        "dataset": "mine",
        "code": 0,
        "model": "mlp",
        "seed": 1,
        "models.linear.wrong": 12,
        "models.mlp.wrong": 2,
    }
    assert runs[1].metrics == {
        "metrics/test.json:accuracy": pytest.approx(37 / 40),
        "metrics/train.json:validation_accuracy": pytest.approx(77 / 80),
    }
    assert read_history(runs[1].revision) == [{"epoch": 1, "train_accuracy": 3 / 40}]
    assert read_history(runs[1].revision, "nonesuch.csv") == []
    with pytest.raises(MnistryError, match="nonesuch"):
        read_experiments(["nonesuch"])


def test_summary_of_what_dvc_knows(command, project, tmp_path):
    """A line per group; Markdown between a file's marks; names choose; none is an error."""
    assert command(summarize, "mlp*") == (
        "mine\n       n  test accuracy, %  difference from the best, 95 %\n  mlp  2  93.75 ± 1.77      best\n"
    )
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    command(summarize, "--into", str(readme), "--figure", str(tmp_path / "figure.png"))
    lines = readme.read_text().splitlines()
    assert [lines[0], lines[-1], len(lines)] == ["before", "after", 8]
    assert lines[5].startswith("| mine | linear code=1 | - | 70.00 | 1 | -23.75 (a single run) |")
    assert (tmp_path / "figure.png").exists()
    held_out = command(summarize, "mlp*", "--validation")
    assert held_out.startswith(
        "mine\n       n  validation accuracy, %  difference from the best, 95 %\n"
        "  mlp  2  96.88 ± 0.88            best\n"
    )
    assert held_out.endswith("  (of validation images; test accuracy of mlp: 93.75 ± 1.77 %)\n")
    with pytest.raises(MnistryError, match="none of 3 finished experiments is meant"):
        command(summarize, "cnn*")
    (tmp_path / "none.md").write_text("no marks")
    with pytest.raises(MnistryError, match="expected a line '<!-- results -->'"):
        command(summarize, "--into", str(tmp_path / "none.md"))
