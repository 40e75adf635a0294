"""What the benchmarks of peers make of what the systems print."""

from math import inf

import numpy as np
import pytest
import torch

from benchmarks.peers.protocol import BATCH_SIZE, LEARNING_RATE, Evaluation, Session, one_cycle
from benchmarks.peers.report import Point, Run, accuracy_figure, dataset_table, median_times, time_to
from benchmarks.sections import kept_section, put_section
from benchmarks.training import best

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
