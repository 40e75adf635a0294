"""What a sweep plans, and what it knows of the repository; tests/test_sweep.py runs some."""

import os
import re
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import CancelledError
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from distributed import KilledWorker
from dvc.utils.hydra import get_hydra_sweeps
from platformdirs import user_cache_path

from commands import sweep
from src.errors import MnistryError
from src.sweeping.cluster import Outcome, outcome_of
from src.sweeping.execution import Commands, RunError, check_pushed, last_error, perform
from src.sweeping.jobs import Job, environment_of_runs, group_jobs, make_jobs
from src.sweeping.plan import plan_runs
from src.sweeping.repository import Experiment, changes, check_dataset, default_remote, identity
from src.sweeping.resume import finished_runs
from tests.conftest import PROJECT

TEXT = (PROJECT / "params.yaml").read_text("utf-8")
PATH = Path("params.yaml")


def names_of(*options, text=TEXT):
    """The names of the runs that the options ask for."""
    return [run.name for run in plan_runs(options, text, PATH).runs]


def test_combinations_are_those_of_dvcs_queue():
    """The same values in the same order, where each makes a run."""
    options = ["model=mlp,cnn", "seed=range(3)", "train.class_weights=none,balanced"]
    queued = [tuple(point["params.yaml"]) for point in get_hydra_sweeps({"params.yaml": options})]
    assert [run.overrides for run in plan_runs(options, TEXT, PATH).runs] == queued
    assert len(queued) == 12


def test_a_cluster_has_its_own_workers(capsys):
    """Their number can't be asked for."""
    with pytest.raises(SystemExit):
        sweep.parse_arguments(["-S", "seed=1", "--scheduler", "tcp://node1:8786", "--workers", "2"])
    assert "--workers: the cluster of --scheduler has its own" in capsys.readouterr().err


def test_params_of_other_models_make_no_runs():
    """Nor are they given to the runs that don't train them; equal values make one run."""
    plan = plan_runs(["model=linear,cnn", "seed=0,0", "models.cnn.learning_rate=0.003,0.01"], TEXT, PATH)
    assert plan.combinations == 8
    assert [run.overrides for run in plan.runs] == [
        ("model=linear", "seed=0"),
        ("model=cnn", "seed=0", "models.cnn.learning_rate=0.003"),
        ("model=cnn", "seed=0", "models.cnn.learning_rate=0.01"),
    ]
    assert [run.params.recipe.learning_rate for run in plan.runs] == ["auto", 0.003, 0.01]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["model=linear,cnn", "seed=3", "models.cnn.learning_rate=0.003,0.01"],
         ["linear-seed3", "cnn-lr0.003-seed3", "cnn-lr0.01-seed3"]),
        # What is given but is as in the commit is not named; what is swept is.
        (["model=mlp", "models.mlp.epochs=auto", "seed=0,1"], ["mlp-seed0", "mlp-seed1"]),
        (["dataset=mnist", "models.mlp.hidden_sizes=[],[64,32]"],
         ["mnist-mlp-hidden_sizes_none", "mnist-mlp-hidden_sizes64x32"]),
        (["models.mlp.optimizer=sgd", "models.mlp.augment.flip=true", "device=cuda:1"],
         ["mlp-device_cuda1-optimizer_sgd-flip_true"]),
        # Each word is of one param, in any sweep.
        (["seed=1", "figures.seed=2", "models.mlp.batch_size=64", "evaluate.batch_size=100"],
         ["mlp-evaluate.batch_size100-figures.seed2-batch_size64-seed1"]),
        (["models.mlp.augment={shift:0.1}"], ["mlp-shift0.1"]),
        (["models.mlp.learning_rate=5e-05"], ["mlp-lr5e-05"]),
        (["model=linear,mlp"], ["linear", "mlp"]),
        (["dataset='꽃'"], ["꽃-mlp"]),
    ],
)  # fmt: skip
def test_names_say_what_differs(options, names):
    """The model, what is swept and what the commit has otherwise, the seed last."""
    assert names_of(*options) == names


@pytest.mark.parametrize("dataset", ["a..b", "a.", f"{'가' * 80}", "x.lock", "v1.0", "+"])
def test_names_are_references_to_git(dataset):
    """Whatever the dataset is called; and two never have the same."""
    options = [f"dataset='{dataset}'"] if dataset != "+" else ["model=mlp"]
    (name,) = names_of(*options)
    subprocess.run(["git", "check-ref-format", f"refs/exps/ab/cd/{name}"], check=True)
    assert len(name.encode()) <= 200


def test_runs_of_one_name_get_a_hash_of_their_params():
    """Values that differ beyond the digits of a name."""
    names = names_of("models.mlp.learning_rate=0.01,0.0100000001")
    assert len(set(names)) == 2
    assert names == names_of("models.mlp.learning_rate=0.01,0.0100000001")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("seed", "-S seed: not understood; expected name=value, name=value,value or 'name=range"),
        ("seed=range(", r"-S seed=range\(: not understood"),
        ("dataset=꽃", "in quotes what isn't ASCII"),
        ("seed=glob(*)", r"-S seed=glob\(\*\): expected values, as in seed=1,2, or a range, as in 'seed=range\(10\)'"),
        ("seed=interval(0,1)", "expected values"),
        ("+sed=1", r"-S \+sed=1: expected name=value; a sweep adds and removes no params"),
        ("~seed", "adds and removes no params"),
        ("modle=cnn", "-S modle=cnn: params.yaml has no modle; did you mean model?"),
        ("learning_rate=1", "did you mean models.cnn.learning_rate or models.linear.learning_rate or"),
        ("models.mlp.lr=1", "models.mlp has no lr; expected one of augment, batch_size, "),
        ("models.mpl.lr=1", "models has no mpl; did you mean mlp?"),
        ("seed.of.all=1", "seed has no of"),
        ("other.yaml:seed=1", "-S other.yaml:seed=1: expected a param of params.yaml, not of other.yaml"),
        ("seed=0,-1", "-S seed=-1: seed is -1; expected a number of at least 0"),
        ("model=mlp,bogus", "-S model=bogus: model is 'bogus'; expected one of cnn, linear, mlp, pretrained, resnet"),
        ("models.cnn.epochs=0", "-S models.cnn.epochs=0: models.cnn.epochs is 0; expected a number of at least 1"),
        ("models.mlp=5", "models.mlp is 5; expected a mapping"),
        ("seed=range(0)", "-S: 0 combinations of values; expected 1 to 10,000"),
        ("seed=range(20000)", "-S: 20,000 combinations of values; expected 1 to 10,000"),
        ("seed=", "seed is ''; expected an integer"),
        ("seed=${nothing}", "-S seed="),
        ("dataset=1e3,digits", "dataset is 1000.0; YAML reads 1000.0 as a number; write"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_before_anything_runs(option, message):
    """With the option, what was expected and the nearest name; also where the model of the param isn't trained."""
    with pytest.raises(MnistryError, match=message) as error:
        plan_runs([option], TEXT, PATH)
    assert "/" not in str(error.value).replace("a/b", "")


def test_a_param_given_twice_is_refused():
    """DVC would take the last and say nothing."""
    with pytest.raises(MnistryError, match="-S seed: given 2 times; expected all values in one, as in seed=1,2"):
        plan_runs(["seed=1", "seed=2"], TEXT, PATH)


def experiment_of(run, **changes):
    """An experiment of the run's name and params."""
    content = yaml.safe_load(TEXT) | {"model": run.params.model, "seed": run.params.seed}
    values = {"name": run.name, "params": yaml.safe_dump(content), "metrics": '{"accuracy": 0.5}', "same_inputs": True}
    return {run.name: Experiment(**(values | changes))}


def test_finished_runs_are_known_by_name_and_params():
    """Params of models that it doesn't train may differ."""
    first, second = plan_runs(["model=linear,cnn"], TEXT, PATH).runs
    other = yaml.safe_load(TEXT) | {"model": "linear"}
    other["models"]["cnn"]["epochs"] = 99
    assert finished_runs([first, second], experiment_of(first, params=yaml.safe_dump(other))) == {"linear": 0.5}


@pytest.mark.parametrize(
    "changes", [{"params": TEXT}, {"params": "model: ["}, {"params": None}, {"metrics": None}, {"same_inputs": False}]
)
def test_another_experiment_of_the_name_is_an_error(changes):
    """Of other params, of none that can be read, without metrics or of other code: it is not overwritten."""
    (run,) = plan_runs(["model=linear"], TEXT, PATH).runs
    with pytest.raises(MnistryError, match=r"^linear: experiments of these names exist.*`dvc exp remove linear`"):
        finished_runs([run], experiment_of(run, **changes))


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("epoch 1\nerror: no images\nERROR: failed to reproduce 'train': failed to run: x, exited with 1\n",
         "error: no images"),
        ("> python -m stages.train\n\nERROR: failed to reproduce 'train': failed to run: x, exited with -9\n",
         "ERROR: failed to reproduce 'train': failed to run: x, exited with -9"),
        ("Cloning\nfatal: repository 'x' does not exist\n", "fatal: repository 'x' does not exist"),
        ("ERROR: unexpected error - s3 is supported, but requires 'dvc-s3'\n\nHaving any troubles? Hit us up\n",
         "ERROR: unexpected error - s3 is supported, but requires 'dvc-s3'"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_failure_is_the_stages_last_line(output, line):
    """Not DVC's, which only says that the stage failed, unless the stage said nothing or DVC itself failed."""
    assert last_error(output) == line


def shared_job():
    """What jobs have in common."""
    return Job(
        git="g", commit="c", cache="d", marker="m", remote="", metrics="m.json", params="params.yaml",
        identity={}, environment={},
    )  # fmt: skip


def test_a_dataset_is_prepared_once_for_several_runs(tmp_path):
    """By a job of its own that pushes nothing; a run that shares it with none needs no such job."""
    runs = plan_runs(["dataset=digits,mnist", "seed=0,1", "normalize.method=standard"], TEXT, PATH).runs[:3]
    jobs = make_jobs(runs, shared_job(), tmp_path, {"digits": ("digits.dvc",), "mnist": ()})
    (digits, of_digits), (mnist, of_mnist) = group_jobs(runs, jobs)
    assert [job.name for job in of_digits] == [run.name for run in runs[:2]]
    assert digits
    assert digits.targets == ("normalize",)
    assert not digits.metrics
    assert digits.checkout == ("digits.dvc",)
    assert digits.log != of_digits[0].log
    assert mnist is None
    assert [job.name for job in of_mnist] == [runs[2].name]


def test_an_experiment_is_there_or_the_run_failed(repository, tmp_path):
    """DVC ends well where another has the name; one of the same params is that of a worker that was thought dead."""
    commits = {}
    for name, text in (("base", "a: 0"), ("first", "a: 1"), ("again", "a: 1"), ("other", "a: 2")):
        Path("params.yaml").write_text(text)
        git("add", "params.yaml")
        git("commit", "-qm", name, "--allow-empty")
        commits[name] = git("rev-parse", "HEAD").strip()
    reference = f"refs/exps/{commits['base'][:2]}/{commits['base'][2:]}/run"
    git("clone", "-q", ".", "clone")
    job = {"commit": commits["base"], "name": "run", "params": "params.yaml", "git": "."}
    with (tmp_path / "log").open("a+") as log:
        commands = Commands(Path("clone"), dict(os.environ), log)
        git("-C", "clone", "update-ref", reference, commits["first"])
        with pytest.raises(RunError, match="has no experiment run of these params"):
            check_pushed(job, commands)
        git("update-ref", reference, commits["again"])
        check_pushed(job, commands)
        git("update-ref", reference, commits["other"])
        with pytest.raises(RunError, match="has no experiment run of these params"):
            check_pushed(job, commands)


class Listed:
    """Commands that only list what they are given, as a run in the folder would give it; `failing` ones fail."""

    def __init__(self, folder, failing=()):
        self.folder, self.failing, self.given = folder, failing, []
        (folder / ".dvc").mkdir(parents=True)
        (folder / "m.json").write_text('{"accuracy": 0.5}')

    def run(self, *command):
        self.given.append(" ".join(command).replace(f"{sys.executable} -m ", ""))
        if any(self.given[-1].startswith(failing) for failing in self.failing):
            raise RunError("ERROR: failed to pull data from the cloud - Checkout failed for following targets:")


def job_elsewhere(folder, **changes):
    """A job from a sweep whose folders this host has not, but a cache and logs of the same paths in the folder."""
    (folder / "sweep" / "logs").mkdir(parents=True)
    (folder / "sweep" / "cache").mkdir()
    log, cache = str(folder / "sweep" / "logs" / "a.log"), str(folder / "sweep" / "cache")
    own = {"git": "git://node1/project", "commit": "c" * 40, "log": log, "cache": cache, "remote": "storage"}
    return asdict(replace(shared_job(), name="a", overrides=("seed=1",), checkout=("a.dvc",), **(own | changes)))


def test_a_host_without_the_sweeps_cache_uses_the_remote(tmp_path):
    """For images, for outputs that are there already, and for its own, which are there before the experiment is."""
    given: Any = Listed(tmp_path / "clone")
    assert perform(job_elsewhere(tmp_path), given) == 0.5
    assert given.given[3:7] == [
        "dvc pull a.dvc",
        "dvc exp run --pull --name a --set-param seed=1",
        "dvc push dvc.yaml",
        "dvc exp push --no-cache origin a",
    ]
    assert (
        str(user_cache_path("mnistry", appauthor=False) / "dvc") in (tmp_path / "clone/.dvc/config.local").read_text()
    )


def test_a_dataset_is_prepared_for_all_hosts(tmp_path):
    """In the remote, with what led to it, by which others find it."""
    given: Any = Listed(tmp_path / "clone")
    assert perform(job_elsewhere(tmp_path, targets=("normalize",), metrics=""), given) is None
    assert given.given[-1] == "dvc push --run-cache --with-deps normalize"


@pytest.mark.parametrize(
    ("changes", "failing", "message"),
    [
        ({"remote": ""}, (), "sweep/cache, and HEAD names no DVC remote; `dvc remote add -d` one and commit, or"),
        ({"git": "sweep"}, (), "doesn't have the sweep's sweep; name the repository as it is reached by --git URL"),
        ({}, ("git cat-file",), "git://node1/project doesn't have the commit ccccccc; `git push` it there"),
        ({}, ("dvc pull",), "a.dvc: the DVC remote doesn't have all of it; run `dvc push a.dvc` in a clone"),
    ],
)  # fmt: skip
def test_a_host_without_a_way_to_code_or_data_says_what_is_missing(tmp_path, monkeypatch, changes, failing, message):
    """And does nothing else."""
    monkeypatch.chdir(tmp_path)
    job = job_elsewhere(Path(), **changes)
    given: Any = Listed(Path("clone"), failing)
    with pytest.raises(RunError, match=re.escape(message)):
        perform(job, given)
    assert not [command for command in given.given if command.startswith("dvc exp")]


def test_the_remote_is_the_commits(repository):
    """Not the one that this repository alone knows; whatever else is in DVC's configuration."""
    assert default_remote("HEAD") == ""
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text(
        "[core]\n    remote = far\n    autostage = true\n['remote \"far\"']\n    url = s3://b/%d\n"
    )
    git("add", "-A")
    git("commit", "-qm", "remote")
    Path(".dvc/config").write_text("[core]\n    remote = near\n")
    assert default_remote("HEAD") == "far"


class Lost:
    """A future of Dask's that ended with the error."""

    key = f"cnn-seed3-{uuid.uuid4()}"

    def __init__(self, error):
        self.error = error

    def result(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KilledWorker("cnn", mock.Mock(), 3), "its worker was killed 4 times; out of memory?"),
        (CancelledError(), "lost by the scheduler"),
        (RuntimeError("the run's process ended with status -9: "), "the run's process ended with status -9: "),
    ],
)  # fmt: skip
def test_a_run_that_was_lost_is_a_failure_with_a_line(error, message):
    """Under its own name; the other runs go on."""
    future: Any = Lost(error)
    assert outcome_of(future) == Outcome("cnn-seed3", None, message, 0, None)


def test_runs_get_this_projects_settings(monkeypatch, tmp_path):
    """The mirror by its whole path, since runs are elsewhere; and the number of threads."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNISTRY_MIRROR", "mirror")
    environment = environment_of_runs(3)
    assert environment["MNISTRY_MIRROR"] == str(tmp_path / "mirror")
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "3"
    monkeypatch.setenv("MNISTRY_MIRROR", "https://example.org/a")
    assert environment_of_runs(1)["MNISTRY_MIRROR"] == "https://example.org/a"


def git(*arguments):
    """What Git prints, run in the working directory."""
    return subprocess.run(["git", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with two datasets, and the working directory."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    git("config", "user.name", "Own")
    git("config", "user.email", "own@example.org")
    for name in ("mnist/source.yaml", "flowers/a.png"):
        Path("data/sources", name).parent.mkdir(parents=True)
        Path("data/sources", name).write_text("1")
    git("add", ".")
    git("commit", "-qm", "start")
    return tmp_path


def test_datasets_are_known_by_git_or_dvc(repository):
    """With the files by which a clone gets them from the cache; what clones lack is refused, with what to do."""
    sources = Path("data/sources")
    git("rm", "-q", "--cached", "data/sources/flowers/a.png")
    with pytest.raises(MnistryError, match=r"dataset is 'flower'; did you mean flowers\?"):
        check_dataset("flower", sources)
    git("commit", "-qm", "untracked")
    with pytest.raises(MnistryError, match=r"data/sources/flowers: not tracked.*run `dvc add data/sources/flowers`"):
        check_dataset("flowers", sources)
    for command in (["init", "-q"], ["add", "-q", "data/sources/flowers"]):
        subprocess.run(["dvc", *command], check=True, stdout=subprocess.DEVNULL)
    git("add", ".")
    git("commit", "-qm", "added")
    assert check_dataset("mnist", sources) == ()
    assert check_dataset("flowers", sources) == ("data/sources/flowers.dvc",)
    Path("data/sources/flowers/b.png").write_text("2")
    with pytest.raises(MnistryError, match="data/sources/flowers: changed since `dvc add`"):
        check_dataset("flowers", sources)
    # What isn't checked out here is no change.
    shutil.rmtree("data/sources/flowers")
    assert check_dataset("flowers", sources) == ("data/sources/flowers.dvc",)


def test_changes_are_those_that_runs_would_not_see(repository):
    """Edited, deleted, staged and new files below the paths; no others, none that Git ignores."""
    for name in ("src/sub/new 꽃.py", "src/staged.py", "other.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    git("add", "src/staged.py")
    Path("data/sources/mnist/source.yaml").unlink()
    assert changes(["src", "data/sources"]) == ["data/sources/mnist/source.yaml", "src/staged.py", "src/sub/new 꽃.py"]


def test_commits_of_clones_are_by_the_same_person(repository):
    """As this repository's own configuration has it."""
    assert identity() == {"user.name": "Own", "user.email": "own@example.org"}
