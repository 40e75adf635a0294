"""What the benchmarks of peers make of what the systems print."""

import sys
from math import inf

import numpy as np
import pytest
import timm
import torch

from benchmarks.peers import photographs
from benchmarks.peers.photographs import SYSTEMS, Training, run, table
from benchmarks.peers.protocol import BATCH_SIZE, LEARNING_RATE, Evaluation, Session, one_cycle
from benchmarks.peers.report import Point, Run, accuracy_figure, dataset_table, median_times, time_to
from benchmarks.peers.systems import mnistry_head, pretrained_network
from benchmarks.peers.systems.pretrained_network import BACKBONE, HELD_OUT, IMAGE_SIZE, weights
from benchmarks.peers.systems.timm_photographs import classes, make_loaders
from benchmarks.sections import PHOTOGRAPHS, kept_section, put_section
from benchmarks.training import best
from src.params import read_params
from src.recipes import BY_TRAINED
from src.weights import load_weights

POINTS = (Point(1, 3, 96.5), Point(2, 5, 98.2), Point(3, 7, 97.9), Point(4, 9, 99.2))


@pytest.fixture
def session(tmp_path):
    """Of three epochs on 1,300 black images."""
    for split, count in (("train", 1300), ("test", 20)):
        np.save(tmp_path / f"{split}_images.npy", np.zeros((count, 1, 28, 28), np.uint8))
        np.save(tmp_path / f"{split}_labels.npy", np.arange(count) % 10)
    return Session(tmp_path, 3, 0)


def test_an_evaluation_comes_back_from_its_line():
    """What a system prints, the driver reads."""
    evaluation = Evaluation(1.25, 0.5, 0.9918)
    assert Evaluation.from_line(evaluation.to_line() + "\n") == evaluation


@pytest.mark.parametrize("line", ["", "Epoch 1/3", "7", "[1, 2]", '{"loss": 1}', "null"])
def test_other_lines_are_no_evaluations(line):
    """Libraries print as well."""
    assert Evaluation.from_line(line) is None


def test_a_session_prints_the_accuracy_without_the_time_of_predicting(session, capsys, monkeypatch):
    """The clock stops while a system evaluates, and compiling is counted apart."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def predict():
        now[0] += 100
        return np.zeros(20, np.int64)

    with session.compiling():
        now[0] += 7
    session.start()
    for _ in range(2):
        now[0] += 5
        session.evaluate(predict)
    lines = capsys.readouterr().out.splitlines()
    assert [Evaluation.from_line(line) for line in lines] == [Evaluation(5, 7, 0.1), Evaluation(10, 7, 0.1)]


def test_parts_hold_each_image_once_per_epoch(session):
    """Ten whole batches of the 1,300 images, in four parts; the last one ends the epoch."""
    parts = list(session.parts())
    assert [len(part) for part in parts] == [2, 3, 2, 3] * 3
    for epoch in range(3):
        seen = np.concatenate(parts[4 * epoch : 4 * epoch + 4]).ravel()
        assert len(set(seen.tolist())) == len(seen) == 10 * BATCH_SIZE
    assert [step for step in range(1, 11) if session.is_due(step)] == [2, 5, 7, 10]


def test_one_cycle_is_torchs():
    """Systems without such a schedule take the same learning rates as those that have it."""
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=50)
    expected = []
    for _ in range(50):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step() if len(expected) < 50 else None
    np.testing.assert_allclose(one_cycle(50), expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("accuracy", "times"), [(97, (2, 5)), (98.2, (2, 5)), (99, (4, 9)), (99.3, (inf, inf))])
def test_time_to_accuracy_is_of_the_first_evaluation_that_found_it(accuracy, times):
    """By both clocks; a later one below it changes nothing."""
    assert time_to(POINTS, accuracy) == times


def test_median_times_count_runs_that_never_got_there():
    """Two of three: the slower of both. One of three: never."""
    slower = Run((Point(8, 20, 99.5),), 0, False)
    never = Run((Point(8, 20, 90),), 0, False)
    assert median_times([Run(POINTS, 0, False), never, slower], 99) == (8, 20)
    assert median_times([Run(POINTS, 0, False), never, never], 99) == (inf, inf)


def test_the_table_names_the_soonest_by_either_clock():
    """A system with quick training and a slow start is ahead by the one clock alone; a stopped one says so."""
    quick = Run((Point(0.5, 30, 98.5),), 2.5, True)
    lines = dataset_table("mnist", {"ours": [Run(POINTS, 0, False)], "theirs": [quick], "none": [Run((), 0, True)]})
    assert lines[2] == "| ours | 1 | - | 2.0 / 5.0 | 2.0 / 5.0 | 4.0 / 9.0 | 4.0 / 9.0 | 99.20 |"
    assert lines[3] == "| theirs | 1 | 2.5 | 0.5 / 30.0 | 0.5 / 30.0 | - | - | 98.50 (stopped) |"
    assert lines[4] == "| none | 1 | - | - | - | - | - | - (stopped) |"
    assert "- 98 %: by training alone theirs, by the whole process ours." in lines
    assert "- 99 %: by training alone ours, by the whole process ours." in lines


def test_the_figure_has_a_curve_per_system():
    """Also for one that never evaluated; the medians of the runs, evaluation by evaluation."""
    later = Run(tuple(Point(point.training, point.process + 2, point.accuracy) for point in POINTS), 0, False)
    systems = {"ours": [Run(POINTS, 0, False), later, later], "none": [Run((), 0, True)]}
    axis = accuracy_figure({"mnist": systems, "fashion_mnist": systems}).axes[0]
    assert [line.get_label() for line in axis.lines] == ["ours", "none"]
    np.testing.assert_allclose(np.asarray(axis.lines[0].get_xydata())[0], [5, 3.5])


def test_a_section_is_put_in_place_and_kept(tmp_path):
    """The rest of the page stays, and the second time replaces the first."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n\ntext\n")
    assert kept_section(page, "peers") == []
    put_section(page, "peers", ["## Peers", "first"])
    page.write_text(page.read_text() + "after\n")
    put_section(page, "peers", ["## Peers", "second"])
    assert page.read_text() == "# Page\n\ntext\n\n<!-- peers -->\n## Peers\nsecond\n<!-- end of peers -->\nafter\n"
    assert kept_section(page, "peers") == ["\n<!-- peers -->\n## Peers\nsecond\n<!-- end of peers -->\n"]


def test_the_peak_is_the_best_of_all_ways():
    """Whichever comes last or first."""
    assert best({"A·B": 2.0, "A·Bᵀ": 5.0, "a convolution": 3.0}) == ("A·Bᵀ", 5.0)


@pytest.fixture
def coloured(tmp_path):
    """A session with sixty images of 8x8 in red, of ten classes, and of twenty in green for the test."""
    for name, count, channel in (("train", 60, 0), ("test", 20, 1)):
        images = np.zeros((count, 3, 8, 8), np.uint8)
        images[:, channel] = 255
        np.save(tmp_path / f"{name}_images.npy", images)
        np.save(tmp_path / f"{name}_labels.npy", np.arange(count) % 10)
    return Session(tmp_path, 2, 0)


def test_colours_come_last(coloured):
    """As libraries read images from files; grey images have no channels."""
    assert coloured.images.shape == (60, 8, 8, 3)
    assert coloured.images[5, 3, 2].tolist() == [255, 0, 0]
    assert coloured.test_images[5, 3, 2].tolist() == [0, 255, 0]


def test_a_training_is_its_last_evaluation_and_what_the_process_took():
    """Other lines are passed over; memory and seconds are those of the process."""
    program = (
        "import time; held = bytearray(b'1') * 300_000_000; start = time.process_time()\n"
        "while time.process_time() < start + 0.2: pass\n"
        "print('Epoch 1')\n"
        f"print({Evaluation(1, 0, 0.5).to_line()!r})\n"
        f"print({Evaluation(2, 0, 0.625).to_line()!r})"
    )
    training = run([sys.executable, "-c", program])
    assert training.accuracy == 62.5
    assert 0.2 <= training.processor < 5
    assert training.wall >= 0.2
    assert training.peak > 300e6


@pytest.mark.parametrize("program", ["print('no accuracy')", "print('no accuracy'); exit(3)"])
def test_a_system_without_an_accuracy_ends_the_benchmark(program):
    """With what it printed, whether it failed or not."""
    with pytest.raises(SystemExit, match=r"^error: .*:\nno accuracy\n$"):
        run([sys.executable, "-c", program])


def test_the_table_of_photographs_has_means():
    """Of accuracies, with their spread where there are several, and of seconds; and the highest peak."""
    first, second = Training(70, 100.4, 1200, 10**9), Training(72, 102, 1300, 2 * 10**9)
    ours, theirs = list(SYSTEMS)[:2]
    assert table({ours: [first, second], theirs: [second]})[2:] == [
        f"| {ours} | 30 | 71.00 ± 1.41 | 2 | 101 | 1,250 | 2,000 |",
        f"| {theirs} | 10 | 72.00 | 1 | 102 | 1,300 | 2,000 |",
    ]


@pytest.mark.parametrize("only", [["--only", "mnistry_all", "timm_photographs"], []])
def test_the_page_is_written_when_all_were_measured(only, tmp_path, monkeypatch, capsys):
    """Some of them alone are printed; each system has its process, seed by seed."""
    (tmp_path / "dataset.json").touch()
    (tmp_path / "page.md").write_text("# Page\n")
    commands = []

    def run_instead(command):
        commands.append(command)
        return Training(70, 1, 2, 3)

    monkeypatch.setattr(photographs, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(photographs, "python_of", lambda name: f"python of {name}")
    monkeypatch.setattr(photographs, "run", run_instead)
    monkeypatch.setattr("sys.argv", ["photographs", str(tmp_path), "--seeds=2", *only])
    photographs.main()
    chosen = only[1:] or [system.module for system in SYSTEMS.values()]
    assert [command[4].rpartition(".")[2] for command in commands] == chosen * 2
    assert commands[0][-1] == "--seed=0"
    assert commands[-1] == [
        "env", "OMP_NUM_THREADS=1", "python of photographs", "-m", "benchmarks.peers.systems.timm_photographs",
        str(tmp_path), "--epochs=10", "--seed=1",
    ]  # fmt: skip
    row = "| timm's script | 10 | 70.00 ± 0.00 | 2 | 1 | 2 | 0 |"
    assert (row in capsys.readouterr().out) == bool(only)
    assert any(row in each for each in kept_section(tmp_path / "page.md", PHOTOGRAPHS)) != bool(only)


def test_photographs_that_are_not_there_are_an_error(tmp_path, monkeypatch):
    """Before an environment is made."""
    monkeypatch.setattr("sys.argv", ["photographs", str(tmp_path)])
    with pytest.raises(SystemExit, match=f"{tmp_path}: not a normalized dataset"):
        photographs.main()


def test_peers_are_given_what_ours_is(coloured):
    """The size of images, the share held out, and which they are; the package's weights, in timm's names."""
    assert {values["image_size"] for values in BY_TRAINED.values()} == {IMAGE_SIZE}
    assert read_params().train.validation_fraction == HELD_OUT
    kept, held_out = pretrained_network.split(coloured)
    assert sorted([*kept, *held_out]) == list(range(60))
    assert np.bincount(coloured.labels[held_out]).tolist() == [1] * 10
    given = timm.create_model(BACKBONE, **weights()).state_dict()
    assert all(map(torch.equal, given.values(), load_weights(BACKBONE, None, "any")[1].values()))


def test_timms_loaders_enlarge_and_normalize(coloured):
    """A batch of training images, and all test images in order, as the backbone wants them: in [-1, 1]."""
    train, test = make_loaders(coloured, timm.create_model(BACKBONE))
    images, labels = next(iter(train))
    assert (images.shape, len(labels)) == ((32, 3, IMAGE_SIZE, IMAGE_SIZE), 32)
    images, labels = next(iter(test))
    assert labels.tolist() == coloured.test_labels.tolist()
    torch.testing.assert_close(images[7, :, 50, 60], torch.tensor([-1.0, 1.0, -1.0]))
    assert classes(timm.create_model("test_resnet", num_classes=10), test).shape == (20,)


def test_ours_trains_by_the_epochs_that_the_driver_gives(coloured, monkeypatch, capsys):
    """And prints the accuracy that benchmarks.few finds."""
    seen = []

    class Data:
        def __init__(self, *arguments):
            seen.append(arguments)

        def train(self, *arguments):
            seen.append(arguments)
            return 73.5

    monkeypatch.setattr(mnistry_head, "Data", Data)
    monkeypatch.setattr(mnistry_head, "prepare_process", lambda: None)
    mnistry_head.train(coloured, "all")
    model, recipe, seed = seen[1]
    assert seen[0] == (coloured.folder, None, None, torch.device("cpu"))
    assert (model, recipe.trained, recipe.epochs, seed) == ("pretrained", "all", 2, 0)
    evaluation = Evaluation.from_line(capsys.readouterr().out)
    assert evaluation
    assert evaluation.accuracy == 0.735
