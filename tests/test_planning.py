"""The model of cost behind docs/scaling.md's plans: its formulas, by answers that are known."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.costs import Cost, Measurement, fit_cost, held_out, keep_measured, load_measured, load_stages
from benchmarks.exchange import LOOPBACK, Exchange, Link, StepCost, Steps, fit_link, fit_step
from benchmarks.failures import YEAR, Epochs, Restarts, chance_of_more, host_failures
from benchmarks.plan import Measured, Setting, in_time, limits, main, quickest, restart_time, training
from benchmarks.scaling import merged
from tests.conftest import PROJECT


def measurement(images: int, epochs: int, cost: Cost) -> Measurement:
    """One that the cost predicts exactly."""
    return Measurement("train", images, epochs, cost.at(images, epochs), 0, 0, 0, 0)


def test_costs_that_made_the_measurements_are_found():
    """Fixed, per image, and per image and epoch; three runs say it, whatever their sizes."""
    cost = Cost(2.5, 3e-5, 7e-5)
    runs = [measurement(*each, cost) for each in ((10_000, 4), (10_000, 1), (300_000, 1), (1_000_000, 1))]
    known, largest = held_out(runs)
    assert largest is runs[-1]
    found = fit_cost(known, "processor")
    assert (found.fixed, found.per_image, found.per_epoch) == pytest.approx((2.5, 3e-5, 7e-5))
    assert found.at(1_000_000, 1) == pytest.approx(largest.processor)


def test_memory_does_not_grow_with_epochs():
    """4 MB per 1,000 images and 100 of its own, and a little more after four epochs, by chance."""
    runs = [Measurement("train", images, epochs, 0, 0, 0, 0, peak)
            for images, epochs, peak in ((1000, 1, 104), (1000, 4, 108), (10_000, 1, 140))]  # fmt: skip
    assert fit_cost(runs, "peak").at(100_000, 50) == pytest.approx(500, rel=0.1)


def test_no_cost_is_below_0():
    """Where more images were quicker, by chance, an image costs nothing rather than less."""
    runs = [Measurement("check", images, 0, seconds, 0, 0, 0, 0) for images, seconds in ((10, 2.1), (1000, 1.9))]
    found = fit_cost(runs, "processor")
    assert found.per_image == 0
    assert found.fixed == pytest.approx(2, rel=0.01)
    assert found.images_within(3) == math.inf


def test_images_within_a_limit():
    """1 fixed and 2 per image, of which half a unit in each of its 3 epochs: 4 images are 1 + 4 * (0.5 + 3 * 0.5)."""
    assert Cost(1, 0.5, 0.5).images_within(9, epochs=3) == 4
    assert Cost(1, 0.5).images_within(0.5) == 0


def test_measurements_are_kept_by_name(tmp_path):
    """The others stay; what comes back is what was kept."""
    path, runs = tmp_path / "measured.json", [measurement(7, 1, Cost(1, 2, 3))]
    keep_measured("links", [Link(1, 2)], path)
    keep_measured("stages", runs, path)
    assert load_stages(path) == runs
    assert load_measured(path)["links"] == [{"latency": 1, "bandwidth": 2}]


@pytest.mark.parametrize(("processes", "expected"), [(1, 0), (2, 2 * (3 + 500)), (4, 6 * (3 + 250))])
def test_a_ring_sends_two_messages_less_than_twice_the_processes(processes, expected):
    """Each of a p-th of the bytes: 1,000 bytes at 1 byte per second, 3 seconds per message."""
    assert Link(3, 1).all_reduce(1000, processes) == expected


def test_a_link_that_made_the_measurements_is_found():
    """From messages of two sizes; another number of processes is predicted."""
    link = Link(1e-4, 125e6)
    measured = [Exchange("", 2, size, link.all_reduce(size, 2), 0) for size in (16, 10**6)]
    found = fit_link(measured)
    assert (found.latency, found.bandwidth) == pytest.approx((1e-4, 125e6))
    assert found.all_reduce(10**6, 4) == pytest.approx(6 * (1e-4 + 250_000 / 125e6))


def test_what_is_exchanged_sets_the_efficiency():
    """Alone 2 + 100; two processes 2 + 50 + 2 messages of 1 + 8 / 2 / 4 seconds: 56 seconds."""
    step, link = StepCost(2, 1, 0, (8,)), Link(1, 4)
    assert step.seconds(100, 1, link) == 102
    assert step.seconds(100, 2, link) == 56
    assert step.efficiency(100, 2, link) == 102 / 56 / 2


def test_replay_by_hand():
    """Work of 10, a checkpoint (1) after each 4, a failure in the second segment, one more in its restart (3).

    0 to 5 the first segment; the second starts and fails at 7; the restart fails at 9 and is over at 12; 12 to 17 the
    second segment; 17 to 20 the last, which has work of 2.
    """
    restarts = Restarts(4, 1, 3)
    assert restarts.replay(10, []) == 13
    assert restarts.replay(10, [7, 9]) == 20


def test_expected_time_without_failures_is_work_and_checkpoints():
    """100 of work in ten segments, each with a checkpoint of 1; failures hardly ever."""
    assert Restarts(10, 1, 5).expected(100, 1e12) == pytest.approx(110)
    assert Restarts(1e6, 1, 5).expected(1e6, 100) == math.inf


def test_expected_time_is_the_mean_of_what_is_simulated():
    """Failures as often as a segment is long, in checkpoints and restarts as well: within three standard errors."""
    restarts, hosts, mean = Restarts(8, 2, 3), 4, 40.0
    times = restarts.simulated(80, hosts, mean / YEAR, 4000)
    expected = restarts.expected(80, mean / hosts)
    assert abs(times.mean() - expected) < 3 * times.std() / math.sqrt(len(times))
    assert expected > 2 * 100


def test_best_interval_is_the_cheapest():
    """Daly's is within a thousandth of the best that a search finds, and Young's is near it."""
    best = Restarts(1, 2, 30).with_best_interval(1000)
    searched = min(Restarts(interval, 2, 30).expected(1, 1000) for interval in np.arange(10, 200, 0.1))
    assert best.expected(1, 1000) == pytest.approx(searched, rel=1e-3)
    assert best.interval == pytest.approx(math.sqrt(2 * 2 * 1000), rel=0.05)
    assert Restarts(1, 5000, 30).with_best_interval(1000).interval == 1000


def test_hosts_fail_as_often_as_each_of_them_does():
    """Of 5 hosts that fail once per 10 on average, one fails per 2; the times ascend."""
    times = list(itertools.islice(host_failures(5, 10, np.random.default_rng(0)), 4000))
    assert times == sorted(times)
    assert times[-1] / len(times) == pytest.approx(2, rel=0.05)


def test_chance_of_more_failures_than_restarts():
    """Poisson: with a mean of 2, more than 0 at 1 - exp(-2), more than 1 at 1 - 3 exp(-2)."""
    assert chance_of_more(0, 20, 10) == pytest.approx(1 - math.exp(-2))
    assert chance_of_more(1, 20, 10) == pytest.approx(1 - 3 * math.exp(-2))


def test_step_cost_is_that_of_one_process_and_what_two_add():
    """Alone 1 + 0.5 per image; two processes took 8 more than twice 1 + 0.5 * 50: 4 each, and so four do."""
    alone = [Steps("mlp", "", 1, size, (), 0, 1 + 0.5 * size) for size in (100, 50)]
    cost = fit_step([*alone, Steps("mlp", LOOPBACK, 2, 100, (8, 4), 0, 60)])
    assert (cost.fixed, cost.per_image, cost.together) == pytest.approx((1, 0.5, 4))
    assert cost.exchanges == (8, 4)
    assert [cost.processor(100, count) for count in (1, 2)] == pytest.approx([51, 30])
    assert 4 * cost.processor(100, 4) == pytest.approx(4 * (1 + 12.5 + 4))


def test_restarts_are_from_a_loss_to_the_epoch_after_it():
    """Epochs of 2 seconds from 1 on; lost at 6, and the third epoch, done again at 12, began at 10."""
    run = Epochs((6,), (1, 2, 3), (3, 5, 12))
    assert run.epoch() == 2
    assert run.work_began() == 1
    assert run.restarts() == [4]


SETTING = Setting(1000, 2, 10, 1.0, Link(0, 4), 1e3, 1e6, 1e3)
FREE = Cost(0, 0)
MEASURED = Measured(
    {
        "normalize": {"processor": Cost(0, 86.4), "read": FREE, "written": Cost(0, 200), "peak": Cost(100, 3)},
        "train": {"processor": Cost(0, 1.0, 2.0), "read": FREE, "written": FREE, "peak": Cost(0, 10)},
        "evaluate": {"processor": FREE, "read": FREE, "written": Cost(0, 500), "peak": Cost(0, 50)},
    },
    StepCost(0, 1, 0, (8,)),
    checkpoint=0.05,
    restart=7,
    load=0.25,
)


def test_what_gives_way_first_is_first():
    """Worked by hand; evaluate has a tenth of the images, and DVC keeps a copy of all that is written."""
    expected = [
        (100, "train's images no longer stay in 1 kB of memory"),
        (200, "evaluate takes more than 1 kB of memory"),
        (300, "normalize takes more than 1 kB of memory"),
        (1000, "normalize takes more than a day on one host"),
        (2000, "outputs and DVC's copies fill 1 MB of disk"),
        (86400 / 5, "train takes more than a day on one host"),
        (10485760, "data/predictions.csv has more rows than a spreadsheet opens"),
    ]
    found = limits(MEASURED, SETTING)
    assert [what for _, what in found] == [what for _, what in expected]
    np.testing.assert_allclose([images for images, _ in found], [images for images, _ in expected])


def test_training_on_two_hosts():
    """100 steps per epoch of 10 / 2 seconds and 2 messages of 4 bytes, 2 seconds; a checkpoint after each epoch."""
    found = training(MEASURED, SETTING, 2)
    assert found.step == 7
    assert found.efficiency == pytest.approx(10 / 7 / 2)
    assert (found.alone, found.interval) == (2 * 100 * 7, 700)
    assert found.now == pytest.approx(1400.1, rel=1e-5)
    assert restart_time(MEASURED, SETTING) == 7 + 250


def test_checkpoints_come_after_the_epoch_that_ends_when_one_is_due():
    """Epochs of 4 seconds, at 250 times the speed: after the third, which ends more than 10 seconds after the last."""
    found = training(MEASURED, replace(SETTING, epochs=100, speed=250.0), 1)
    assert found.interval == pytest.approx(12)


def test_the_quickest_training_is_not_on_more_hosts_than_pay():
    """On more of them, the exchange takes longer than what each computes: 2 hosts are 71 % efficient, 4 below half."""
    found = quickest(MEASURED, SETTING)
    assert (found.hosts, round(found.efficiency, 2)) == (2, 0.71)


def test_plan_of_what_was_measured(capsys, monkeypatch):
    """The command, with the repository's own measurements: a line per stage, one per number of hosts, finite times."""
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr("sys.argv", ["plan", "--images", "1e9", "--model", "cnn", "--hosts", "1,8"])
    main()
    output = capsys.readouterr().out
    assert "1,000,000,000 images of 28x28, cnn, epochs 1, batches of 128" in output
    for start in ("| normalize | ", "| train | ", "| 1 | ", "| 8 | ", "| both | "):
        assert f"\n{start}" in output
    assert "never" not in output
    assert "nan" not in output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (90, "90 s"),
        (3600, "60 min"),
        (12_600, "3.5 h"),
        (10 * 86_400, "10 days"),
        (5e8, "16 years"),
        (math.inf, "never"),
    ],
)
def test_times_in_words(seconds, text):
    """In the unit that suits."""
    assert in_time(seconds) == text


def test_a_measurement_takes_the_place_of_the_same_run():
    """The others stay, each stage's together, in the order of their images."""
    kept = [measurement(10, 1, Cost(1, 0)), measurement(30, 1, Cost(1, 0)), replace(measurement(5, 0, FREE), stage="z")]
    again, more = measurement(10, 1, Cost(2, 0)), measurement(20, 1, Cost(1, 0))
    assert merged(kept, again) == [again, *kept[1:]]
    assert merged(kept, more) == [kept[0], more, *kept[1:]]
