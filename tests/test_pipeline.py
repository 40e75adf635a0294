"""The pipeline as DVC sees it: first its files, then real runs in a fresh clone."""

import ast
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from dvc_render.vega_templates import TEMPLATES
from PIL import Image
from selenium.webdriver.support.ui import WebDriverWait

from src.params import MODELS
from tests.browser import open_browser
from tests.conftest import PROJECT, copy_project
from tests.imports import project_imports

PIPELINE = yaml.safe_load((PROJECT / "dvc.yaml").read_text("utf-8"))
STAGES = PIPELINE["stages"]


def names(entries):
    """The paths of a stage's entries, with or without settings."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or []]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_real_imports(stage, model, monkeypatch):
    """Both ways: every file that a stage uses reruns it, and no other file does."""
    monkeypatch.chdir(PROJECT)
    declared = {path.replace("${model}", model) for path in names(STAGES[stage]["deps"])}
    imported = project_imports(Path("stages", f"{stage}.py"))
    if "src/models/__init__.py" in imported:
        imported |= project_imports(Path("src", "models", f"{model}.py"))
    assert {path for path in declared if path.endswith(".py")} == imported


@pytest.mark.parametrize("stage", STAGES)
def test_declared_params_are_those_that_are_read(stage):
    """Both ways; `params.recipe` is the chosen model's section."""
    tree = ast.parse((PROJECT / "stages" / f"{stage}.py").read_text("utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    assert {"models.${model}" if name == "recipe" else name for name in read} == set(STAGES[stage].get("params", []))


def test_outputs_are_ignored_or_committed():
    """What DVC caches is ignored by Git up front; metrics and plots are files of Git."""
    for stage in STAGES.values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                path = names([entry])[0].replace("${dataset}", "digits")
                cached = not (isinstance(entry, dict) and entry[path].get("cache") is False)
                ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=PROJECT, check=False).returncode == 0
                assert ignored == cached, path


def test_plots_and_artifacts_name_outputs_and_their_columns():
    """Every plot's file is an output and has the columns that are drawn; the classifier is an artifact."""
    outputs = {name for stage in STAGES.values() for kind in ("outs", "plots") for name in names(stage.get(kind))}
    drawn = [settings for plot in PIPELINE["plots"] for settings in plot.values()]
    for stage in STAGES.values():
        for entry in stage.get("plots", []):
            if isinstance(entry, dict):
                ((path, settings),) = entry.items()
                drawn.append(settings | {"y": {path: settings["y"]}})
    assert len(drawn) == 8
    for settings in drawn:
        for path, columns in settings["y"].items():
            assert path in outputs
            with (PROJECT / path).open(encoding="utf-8") as file:
                header = next(csv.reader(file))
            assert {settings["x"], *([columns] if isinstance(columns, str) else columns)} <= set(header)
        own = (PROJECT / ".dvc" / "plots" / f"{settings['template']}.json").exists()
        assert own or settings["template"] in {template.DEFAULT_NAME for template in TEMPLATES}
    assert PIPELINE["artifacts"]["classifier"]["path"] in outputs


def test_params_yaml_is_in_block_style():
    """`dvc exp run -S` rewrites the file so; otherwise the first experiment would reformat it."""
    assert not re.search(r"^[^#]*[\[{]", (PROJECT / "params.yaml").read_text("utf-8"), re.MULTILINE)


class Clone:
    """A clone of the project's committed and uncommitted files, with an empty cache."""

    def __init__(self, path):
        self.path = path
        copy_project(path)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_"))}
        self.environment |= {
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@t",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@t",
        }
        self.git("init", "-q")
        self.commit("start")

    def run(self, *command, ok=True):
        result = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (result.returncode == 0) == ok, result.stdout
        return result.stdout

    def git(self, *arguments):
        return self.run("git", *arguments)

    def commit(self, message):
        self.git("add", "-A")
        self.git("commit", "-qm", message, "--allow-empty")

    def dvc(self, *arguments, ok=True):
        return self.run("dvc", *arguments, ok=ok)

    def edit(self, name, old, new):
        path = self.path / name
        assert old in path.read_text("utf-8")
        path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")

    def restore(self):
        """By the README's words, and the code as it was."""
        self.run("make", "recover")
        self.git("checkout", "-q", "src", "stages")

    def metrics(self):
        return {path.name: path.read_bytes() for path in (self.path / "metrics").iterdir()}


def stages_run(output):
    """The stages that DVC says it ran."""
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone after its first `dvc repro` and a commit, short recipes; each test leaves it as it was."""
    clone = Clone(tmp_path_factory.mktemp("clone"))
    clone.edit("params.yaml", "  cnn:\n    epochs: ", "  cnn:\n    epochs: 1 #")
    assert stages_run(clone.dvc("repro")) == ["check", "download", "normalize", "train", "evaluate"]
    clone.commit("run")
    yield clone
    assert clone.git("status", "--short") == ""


def test_second_run_has_nothing_to_do(clone):
    """Nor has one after a change of another model's recipe."""
    assert "Data and pipelines are up to date." in clone.dvc("repro")
    clone.edit("params.yaml", "    epochs: 1 #", "    epochs: 9 #")
    assert "Data and pipelines are up to date." in clone.dvc("repro")
    clone.restore()


def test_experiment_runs_what_its_param_concerns_and_is_compared(clone):
    """Another model: train and evaluate; the metrics differ, and the experiment is listed. Then back: nothing runs."""
    before = clone.metrics()
    assert stages_run(clone.dvc("exp", "run", "-n", "first", "-S", "model=cnn")) == ["train", "evaluate"]
    changes = json.loads(clone.dvc("metrics", "diff", "--json"))
    assert "parameters" in changes["metrics/train.json"]
    assert "first" in clone.dvc("exp", "show", "--csv")
    clone.git("checkout", "-q", "params.yaml")
    assert stages_run(clone.dvc("repro")) == []
    assert clone.metrics() == before
    clone.restore()


def test_page_of_plots_is_drawn_without_a_network(clone, tmp_path):
    """All charts and figures, the confusion matrix's counts too, with nothing from elsewhere."""
    with open_browser(tmp_path) as browser:
        assert "dvc_plots/index.html: open it in a browser" in clone.run("python", "-m", "commands.report")
        # One file, wherever it is moved to.
        (page,) = (clone.path / "dvc_plots").iterdir()
        browser.get(page.rename(tmp_path / "moved.html").as_uri())
        all_drawn = "return [...document.querySelectorAll('.chart')].every(chart => chart.dataset.drawn)"
        WebDriverWait(browser, 20).until(lambda page: page.execute_script(all_drawn))
        # Loss, accuracy, recall, precision, the confusion matrix, reliability, confidence.
        assert len(browser.find_elements("css selector", ".chart svg.marks")) == 7
        assert all(figure.get_property("naturalWidth") for figure in browser.find_elements("css selector", "img"))
        assert len(browser.find_elements("css selector", "img")) == 5
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert not [url for url in loaded if not url.startswith("file:")]
        with (clone.path / "metrics" / "confusion.csv").open() as file:
            counts = {row["count"] for row in csv.DictReader(file)} - {"0"}
        drawn = browser.find_elements("xpath", "//*[contains(@class, 'mark-text')]//*[name()='text']")
        texts = [element.get_attribute("textContent") for element in drawn]
        assert counts <= set(texts)
    clone.restore()


def test_normalization_reruns_all_but_the_download(clone):
    """And another method gives other arrays."""
    clone.edit("params.yaml", "method: standard", "method: half")
    assert stages_run(clone.dvc("repro")) == ["normalize", "train", "evaluate"]
    clone.restore()


def test_code_reruns_the_stages_that_use_it(clone):
    """A line that only evaluate uses."""
    clone.edit("src/evaluation.py", '"""', '"""Changed. ')
    assert stages_run(clone.dvc("repro")) == ["evaluate"]
    clone.restore()


def test_two_runs_from_scratch_give_the_same_lock(clone):
    """The same code, params and data: the same bytes everywhere."""
    locks = []
    for _ in range(2):
        clone.dvc("repro", "--force")
        locks.append((clone.path / "dvc.lock").read_bytes())
    assert locks[0] == locks[1]


def test_temporary_and_queued_experiments_run_their_copies_code(clone):
    """The copies hold the changed code, which leaves its mark; the workspace isn't touched."""
    clone.edit(
        "stages/evaluate.py", '    log(f"{loaded.name} on', '    log("changed code")\n    log(f"{loaded.name} on'
    )
    output = clone.dvc("exp", "run", "--temp", "-n", "temporary", "-S", "model=linear")
    assert stages_run(output) == ["train", "evaluate"]
    assert "changed code" in output
    clone.dvc("exp", "run", "--queue", "-S", "model=linear,mlp,cnn")
    clone.dvc("queue", "start")
    deadline = time.monotonic() + 240
    while re.search("Queued|Running", status := clone.dvc("queue", "status")):
        assert time.monotonic() < deadline, status
        time.sleep(2)
    assert status.count("Success") == 3, status
    logs = [clone.dvc("queue", "logs", name) for name in re.findall(r"^(\w{7,}) ", status, re.MULTILINE)]
    # The default model's results come from DVC's cache but for the changed code's.
    assert len(logs) == 3
    assert all("changed code" in log or "cached" in log for log in logs)
    assert sum("changed code" in log for log in logs) >= 2
    clone.restore()


def test_own_images_go_from_dvc_add_to_a_confusion_matrix(clone):
    """In a temporary copy too, which has only what Git and DVC track; by the words of docs/datasets.md."""
    folder = clone.path / "data/sources/flowers"
    for i in range(40):
        name = ("daisy", "모란")[i % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (10, 12), ((i, 200, 0), (200, 0, i))[i % 2]).save(folder / name / f"{i}.png")
    clone.dvc("add", "data/sources/flowers")
    clone.git("add", "data/sources")
    clone.git("commit", "-qm", "Add flowers")
    assert clone.git("status", "--short") == ""
    output = clone.dvc("exp", "run", "--temp", "-n", "flowers", "-S", "dataset=flowers", "-S", "model=linear")
    assert stages_run(output) == ["check", "download", "normalize", "train", "evaluate"]
    (experiment,) = clone.git("for-each-ref", "--format=%(refname)", "refs/exps/*/*/flowers").split()
    confusion = list(csv.DictReader(clone.git("show", f"{experiment}:metrics/confusion.csv").splitlines()))
    assert {(row["actual"], row["predicted"]): int(row["count"]) for row in confusion} == {
        ("daisy", "daisy"): 4, ("daisy", "모란"): 0, ("모란", "daisy"): 0, ("모란", "모란"): 4,
    }  # fmt: skip
    clone.git("reset", "-q", "--hard", "HEAD~1")
    shutil.rmtree(folder)


@pytest.mark.parametrize("added", [False, True])
def test_recovery_after_a_failed_run_keeps_new_images(clone, added):
    """`dvc exp run` itself brings flowers.dvc up to date; going back on that would delete the image."""
    folder = clone.path / "data/sources/flowers"
    for i in range(4):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), i).save(folder / "ab"[i % 2] / f"{i}.png")
    clone.dvc("add", "data/sources/flowers")
    clone.git("add", "data/sources")
    clone.git("commit", "-qm", "Add flowers")
    before = clone.metrics()
    Image.new("L", (4, 4), 9).save(folder / "a/new.png")
    if added:
        clone.dvc("add", "data/sources/flowers")
    clone.dvc(
        "exp", "run", "-S", "dataset=flowers", "-S", "model=linear", "-S", "train.validation_fraction=2", ok=False
    )
    clone.restore()
    assert (folder / "a/new.png").exists()
    assert clone.metrics() == before
    assert (clone.path / "models" / "classifier.safetensors").exists()
    clone.git("reset", "-q", "--hard", "HEAD~1")
    shutil.rmtree(folder)


def test_recovery_after_a_killed_run(clone):
    """SIGTERM leaves HEAD detached, params staged, metrics deleted; whatever else a kill leaves is cleared as well."""
    before, branch = clone.metrics(), clone.git("branch", "--show-current")
    process = subprocess.Popen(
        ["dvc", "exp", "run", "-S", "models.mlp.epochs=100000"], cwd=clone.path, env=clone.environment,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert any(line.startswith("epoch 1/") for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    # Its end comes when the stage, which has the same pipe, has ended as well.
    process.communicate(timeout=30)
    assert clone.git("branch", "--show-current") == ""
    assert clone.git("diff", "--cached", "--name-only") == "params.yaml\n"
    # Killed at other moments, it leaves its lock file empty, a file of its own staged, and a classifier that train had
    # finished and DVC had not yet saved.
    (clone.path / ".dvc/tmp/rwlock").write_text("")
    (clone.path / ".dvc/tmp/repro.dat").write_text("")
    clone.git("add", "--force", ".dvc/tmp/repro.dat")
    (clone.path / "models" / "classifier.safetensors").write_bytes(b"unsaved")
    output = clone.run("make", "recover")
    assert "+    epochs: 100000" in output
    assert clone.git("branch", "--show-current") == branch
    assert clone.git("status", "--short") == ""
    assert clone.metrics() == before
    assert (clone.path / "models" / "classifier.safetensors").read_bytes() != b"unsaved"
    assert "Data and pipelines are up to date." in clone.dvc("repro")


def test_killed_repro_goes_on_where_it_was(clone):
    """DVC and the stage killed amid training, outputs gone by then: the next run ends in the bytes of a whole one."""
    for old, new in (("SECONDS = 10.0", "SECONDS = 0.0"), ("SHARE = 0.01", "SHARE = 1.0")):
        clone.edit("src/resuming.py", old, new)
    clone.edit("params.yaml", "  mlp:\n    epochs: auto\n", "  mlp:\n    epochs: 60\n")
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=clone.path, env=clone.environment, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert any(line.startswith("epoch 5/60") for line in process.stdout)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    names = ("models/classifier.safetensors", "metrics/train.json", "metrics/history.csv", "data/validation.csv")
    outputs = [clone.path / name for name in names]
    results = []
    for command, resumed in ((("repro",), True), (("repro", "--force", "--single-item", "train"), False)):
        output = clone.dvc(*command)
        assert "epoch 60/60" in output
        assert ("training goes on after epoch" in output) == resumed
        assert ("epoch 1/60" in output) != resumed
        results.append([path.read_bytes() for path in outputs])
    assert results[0] == results[1]
    clone.restore()


def test_recovery_reads_what_git_takes_for_unchanged(clone):
    """A kill can leave other params of the same size under the times in Git's index: Git shows no change."""
    params, clean = clone.path / "params.yaml", (clone.path / "params.yaml").read_text("utf-8")
    clone.git("config", "core.trustctime", "false")
    # Git reads a file again that is as new as its index: this one is a second older.
    times = params.stat()
    os.utime(params, ns=(times.st_atime_ns, times.st_mtime_ns - 10**9))
    clone.git("update-index", "--refresh")
    times = params.stat()
    params.write_text(clean.replace("\nseed: 0", "\nseed: 1"), "utf-8")
    os.utime(params, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert clone.git("status", "--short") == ""
    assert "+seed: 1" in clone.run("make", "recover")
    assert params.read_text("utf-8") == clean
    clone.git("config", "--unset", "core.trustctime")


def test_locks_that_a_kill_leaves(clone):
    """Git's is said, with what to do: another Git may be at work, and there is no knowing; DVC's doesn't matter."""
    lock = clone.path / ".git" / "index.lock"
    lock.touch()
    output = clone.run("make", "recover", ok=False)
    assert "index.lock': File exists" in output
    assert "remove the file manually" in output
    lock.unlink()
    (clone.path / ".dvc/tmp/lock").write_text("99999999\n")
    clone.run("make", "recover")
    assert "Data and pipelines are up to date." in clone.dvc("repro")


def test_killed_stage_is_named_by_dvc(clone):
    """With the signal's number: what a user sees where the kernel ended it because memory ran out.

    A shell that starts the stage as a process of its own, as some do, says 137, which is 128 + 9.
    """
    clone.edit(
        "stages/train.py", "    params = read_params()", "    __import__('os').kill(__import__('os').getpid(), 9)"
    )
    output = clone.dvc("repro", ok=False)
    assert re.search(
        "failed to reproduce 'train': failed to run: python -m stages.train .*, exited with (-9|137)\n", output
    )
    clone.restore()
    assert (clone.path / "models" / "classifier.safetensors").exists()


def test_recovery_in_a_clone_that_never_ran(clone, tmp_path):
    """The cache has nothing of what the lock names: that is no error, and `dvc repro` makes it."""
    clone.git("clone", "-q", str(clone.path), str(tmp_path / "other"))
    subprocess.run(["make", "recover"], cwd=tmp_path / "other", env=clone.environment, check=True)
    assert not (tmp_path / "other" / "models" / "classifier.safetensors").exists()


def test_recovery_after_a_kill_right_after_the_experiments_commit(clone):
    """DVC commits an experiment on the detached HEAD: the branch comes back, unless the user chose that commit."""
    branch = clone.git("branch", "--show-current").strip()
    clone.git("checkout", "-q", "--detach")
    clone.edit("params.yaml", "model: mlp", "model: cnn")
    clone.git("commit", "-qam", "dvc: commit experiment 5c7c")
    experiment = clone.git("rev-parse", "HEAD").strip()
    clone.run("make", "recover")
    assert clone.git("branch", "--show-current").strip() == branch
    clone.git("checkout", "-q", experiment)
    clone.run("make", "recover")
    assert clone.git("rev-parse", "HEAD").strip() == experiment
    clone.git("checkout", "-q", branch)
    clone.restore()


def test_recovery_leaves_a_chosen_commit_alone(clone):
    """HEAD that the user detached at another commit than the branch's stays there."""
    branch = clone.git("branch", "--show-current").strip()
    clone.git("checkout", "-q", "HEAD~1")
    clone.run("make", "recover")
    assert clone.git("branch", "--show-current") == ""
    clone.git("checkout", "-q", branch)
    clone.restore()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("dataset=mnits", "error: params.yaml: dataset is 'mnits'; did you mean mnist?"),
        ("model=bogus", "bogus"),
        ("models.mlp.epochs=-1", "error: params.yaml: models.mlp.epochs is -1; expected a number of at least 1"),
        ("models.mlp.epoch=5", "epoch"),
        (
            "models.mlp.learning_rate=1e30",
            "the training loss is nan; most likely, learning_rate 1e+30 is too high; try -S ",
        ),
        ("device=xpu:7", "error: device: 'xpu:7' is not available here; expected auto or one of cpu"),
    ],
)
def test_wrong_value_is_an_error_and_nothing_is_lost(clone, change, message):
    """A line that says what to do, a failing exit, no traceback; afterwards everything comes back."""
    before = clone.metrics()
    output = clone.dvc("exp", "run", "-S", change, ok=False)
    assert message in output
    assert "Traceback" not in output
    clone.restore()
    assert clone.metrics() == before
    assert (clone.path / "models" / "classifier.safetensors").exists()


def test_without_network_and_mirror_the_error_says_what_to_do(clone):
    """A torchvision class whose servers can't be reached, and a mirror that lacks the dataset."""
    clone.environment |= {
        "MNISTRY_MIRROR": str(clone.path / "nowhere"),
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    output = clone.dvc("exp", "run", "-S", "dataset=fashion_mnist", ok=False)
    assert "error: fashion_mnist: could not get train-images-idx3-ubyte.gz. Tried" in output
    assert "Set MNISTRY_MIRROR to a folder or URL that holds fashion_mnist/train-images-idx3-ubyte.gz" in output
    assert "dataset=digits, which needs no network" in output
    assert "Traceback" not in output
    clone.restore()


def test_download_killed_in_the_middle_leaves_nothing_to_trust(clone):
    """A mirror that sends half of an archive and hangs; a rerun starts anew."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        mirror = f"http://127.0.0.1:{server.getsockname()[1]}"
        process = subprocess.Popen(
            ["python", "-m", "stages.download", "data/sources/mnist", "data/raw/mnist"],
            cwd=clone.path, env=clone.environment | {"MNISTRY_MIRROR": mirror, "no_proxy": "127.0.0.1"},
        )  # fmt: skip
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9912422\r\n\r\n" + b"x" * 65536)
            time.sleep(0.5)
            process.send_signal(signal.SIGKILL)
            process.wait()
    # The next run clears away the folder that was being filled: test_outputs.py.
    assert {path.name for path in (clone.path / "data/raw").iterdir()} == {"digits", ".mnist.partial"}
    shutil.rmtree(clone.path / "data/raw/.mnist.partial")


def test_mnist_is_read_at_99_percent_by_the_cnn(mnist_mirror, clone):
    """The whole way from the original archives."""
    clone.environment["MNISTRY_MIRROR"] = mnist_mirror
    clone.git("checkout", "-q", ".")
    clone.dvc("exp", "run", "-S", "dataset=mnist", "-S", "model=cnn", "-S", "models.cnn.epochs=2")
    assert json.loads((clone.path / "metrics" / "test.json").read_text())["accuracy"] >= 0.99
    clone.restore()
