"""How many hosts and how long for more images than any machine here has: `python -m benchmarks.plan --images 1e8`.

Costs come from benchmarks/measured.json (benchmarks.scaling and benchmarks.hosts): seconds and bytes per image of each
stage, what a training step computes and exchanges, what a checkpoint and a restart take. Everything else is an
assumption that an option changes. Nothing is measured, and nothing here has ever been run on so many images or hosts.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.costs import MEASURED, Cost, Measurement, Quantity, fit_cost, load_measured, of_stage
from benchmarks.exchange import GIGABIT, Exchange, Link, StepCost, Steps, fit_link, fit_step, of_link
from benchmarks.failures import YEAR, Epochs, Restarts, chance_of_more
from src.launching import RESTARTS
from src.params import read_params
from src.recipes import Facts, complete
from src.resources import in_words
from src.resuming import SECONDS, SHARE

QUANTITIES: tuple[Quantity, ...] = ("processor", "read", "written", "peak")
DAY = 86_400.0
TESTED = 0.1
"""Test images per training image."""
MOST_HOSTS = 1024
LEAST_EFFICIENCY = 0.5
SHEET_ROWS = 1_048_576
"""Of a spreadsheet: what opens no longer in one."""
TRACKED = "dvc add, one file", "dvc add, PNG files"
"""Ways of putting the same images under DVC; each output has its own time of this kind."""
LISTED = 9
"""Of what gives way."""
MODELS = ("linear", "mlp", "cnn", "resnet")


@dataclass(frozen=True)
class Measured:
    """All that a plan goes by, of one model.

    stages: seconds and bytes, by stage and quantity. step: of training. checkpoint: seconds. restart: seconds, of a
    training on few images; load: more of them per image.
    """

    stages: Mapping[str, Mapping[Quantity, Cost]]
    step: StepCost
    checkpoint: float
    restart: float
    load: float


@dataclass(frozen=True)
class Setting:
    """What is assumed.

    speed: of a host, in processes of one thread as they were measured. memory, disk: bytes of a host. host_years: mean
    time until a host fails.
    """

    images: float
    epochs: int
    batch_size: int
    speed: float
    link: Link
    memory: float
    disk: float
    host_years: float


@dataclass(frozen=True)
class Training:
    """A training on so many hosts, in seconds. interval: of work, between two checkpoints. failures: their mean number.

    alone: without failures and checkpoints. now: with both, a checkpoint after an epoch as it is. best: with Daly's
    interval.
    """

    hosts: int
    step: float
    efficiency: float
    alone: float
    now: float
    best: float
    interval: float
    best_interval: float
    failures: float


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive, default=1e7, help="to train on (1e7)")
    parser.add_argument("--model", choices=MODELS, default="resnet", help="(resnet)")
    parser.add_argument("--epochs", type=positive_integer, help="what auto in the recipe says")
    parser.add_argument("--batch-size", type=positive_integer, help="what the recipe says")
    parser.add_argument("--hosts", type=numbers, default="1,2,4,8,16,32,64", help="several (1,2,4,8,16,32,64)")
    parser.add_argument("--speed", type=positive, default=16, help="of a host, in measured processes (16)")
    parser.add_argument("--bandwidth", type=positive, default=1e9, help="of the hosts' links, bits per second (1e9)")
    parser.add_argument("--latency", type=positive, help="seconds per message between hosts (as measured)")
    parser.add_argument("--memory", type=positive, default=64e9, help="of a host, bytes (64e9)")
    parser.add_argument("--disk", type=positive, default=1e12, help="of a host, bytes (1e12)")
    parser.add_argument("--host-years", type=positive, default=3, help="mean time until a host fails (3)")
    arguments = parser.parse_args()
    measured, measured_link = load_costs(arguments.model), load_link(GIGABIT)
    recipe = complete(arguments.model, getattr(read_params().models, arguments.model), Facts(int(arguments.images)))
    setting = Setting(
        arguments.images,
        arguments.epochs or int(recipe.epochs),
        arguments.batch_size or int(recipe.batch_size),
        arguments.speed,
        Link(measured_link.latency if arguments.latency is None else arguments.latency, arguments.bandwidth / 8),
        arguments.memory,
        arguments.disk,
        arguments.host_years,
    )
    print("\n".join(plan(arguments.model, measured, setting, arguments.hosts)))


def positive(text: str) -> float:
    """The number above 0; raises ValueError, which argparse reports."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def positive_integer(text: str) -> int:
    """The whole number above 0; raises ValueError."""
    return int(positive(str(int(text))))


def numbers(text: str) -> list[int]:
    """Whole numbers above 0, divided by commas; raises ValueError."""
    return [positive_integer(each) for each in text.split(",")]


def plan(model: str, measured: Measured, setting: Setting, hosts: Sequence[int]) -> Iterator[str]:
    """The lines of the plan."""
    yield (
        f"{setting.images:,.0f} images of 28x28, {model}, epochs {setting.epochs}, batches of {setting.batch_size}; "
        f"hosts {setting.speed:g} times as fast as a process here, {in_words(setting.memory)} of memory, "
        f"{in_words(setting.disk)} of disk, {setting.link.bandwidth * 8 / 1e9:g} Gbit/s, "
        f"{1e6 * setting.link.latency:.0f} µs per message, a failure per host in {setting.host_years:g} years\n"
    )
    yield from stages_table(measured, setting)
    yield from trainings_table(measured, setting, hosts)
    yield from changes_table(measured, setting)
    yield "\nWhat gives way, and from how many training images on:\n"
    for images, what in limits(measured, setting)[:LISTED]:
        yield f"- {images:,.3g}: {what}"


def stages_table(measured: Measured, setting: Setting) -> Iterator[str]:
    """What each stage takes, which no second host shortens but for train."""
    yield "| stage | time | read | written | memory |"
    yield "|---|---|---|---|---|"
    for stage, costs in measured.stages.items():
        images = setting.images * (TESTED if stage == "evaluate" else 1)
        epochs = setting.epochs if stage == "train" else 0
        time = in_time(costs["processor"].at(images, epochs) / setting.speed)
        sizes = " | ".join(in_words(costs[name].at(images, epochs)) for name in QUANTITIES[1:])
        yield f"| {stage} | {time} | {sizes} |"


def trainings_table(measured: Measured, setting: Setting, hosts: Sequence[int]) -> Iterator[str]:
    """Training on those numbers of hosts."""
    headings = "hosts", "ms per step", "efficiency", "training", "failures", f"more than {RESTARTS}", "with failures"
    yield f"\n| {' | '.join(headings)} | with the best interval |"
    yield "|---|---|---|---|---|---|---|---|"
    for count in hosts:
        each = training(measured, setting, count)
        more = chance_of_more(RESTARTS, each.now, setting.host_years * YEAR / count)
        yield (
            f"| {count} | {1e3 * each.step:.3g} | {in_percent(each.efficiency)} | {in_time(each.alone)} "
            f"| {each.failures:.2g} | {in_percent(more)} | {in_time(each.now)} "
            f"| {in_time(each.best)}, every {in_time(each.best_interval)} |"
        )


def changes_table(measured: Measured, setting: Setting) -> Iterator[str]:
    """The quickest training at half of the efficiency or more, as it is and with what one would change."""
    faster = replace(setting.link, bandwidth=25e9 / 8, latency=2e-5)
    changes = {
        "as it is": setting,
        "batches of 4,096": replace(setting, batch_size=4096),
        "25 Gbit/s, 20 µs": replace(setting, link=faster),
        "both": replace(setting, batch_size=4096, link=faster),
    }
    yield f"\n| change | hosts, at {in_percent(LEAST_EFFICIENCY)} efficiency or more | efficiency | training |"
    yield "|---|---|---|---|"
    for name, changed in changes.items():
        each = quickest(measured, changed)
        yield f"| {name} | {each.hosts:,} | {in_percent(each.efficiency)} | {in_time(each.now)} |"


def training(measured: Measured, setting: Setting, hosts: int) -> Training:
    """The cost of the training on so many hosts, of one process each."""
    step = measured.step.seconds(setting.batch_size, hosts, setting.link, setting.speed)
    epoch = step * max(setting.images // setting.batch_size, 1)
    work = epoch * setting.epochs
    # A checkpoint is written after the first epoch that ends so long after the last one.
    least = max(SECONDS, measured.checkpoint / SHARE)
    interval = min(epoch * -(-least // epoch), work)
    restarts = Restarts(interval, measured.checkpoint, restart_time(measured, setting))
    between = setting.host_years * YEAR / hosts
    best = restarts.with_best_interval(between)
    best = replace(best, interval=min(best.interval, work))
    now = restarts.expected(work, between)
    return Training(
        hosts, step, measured.step.efficiency(setting.batch_size, hosts, setting.link, setting.speed), work, now,
        best.expected(work, between), interval, best.interval, now / between,
    )  # fmt: skip


def restart_time(measured: Measured, setting: Setting) -> float:
    """Seconds until work goes on: what was measured, and what one thread needs to look through all images again."""
    return measured.restart + measured.load * setting.images


def quickest(measured: Measured, setting: Setting) -> Training:
    """The training on the most hosts, of powers of two, that are still efficient; on one host where no more are."""
    counts = [1 << power for power in range(MOST_HOSTS.bit_length())]
    found = [training(measured, setting, count) for count in counts if count <= setting.batch_size]
    return min((each for each in found if each.efficiency >= LEAST_EFFICIENCY), key=lambda each: each.now)


def limits(measured: Measured, setting: Setting) -> list[tuple[float, str]]:
    """How many training images a host can take until something gives way, and what that is, the first one first."""
    found = [(SHEET_ROWS / TESTED, "data/predictions.csv has more rows than a spreadsheet opens")]
    for stage, costs in measured.stages.items():
        share, epochs = (TESTED if stage == "evaluate" else 1), setting.epochs if stage == "train" else 0
        memory = costs["peak"].images_within(setting.memory, epochs) / share
        day = costs["processor"].images_within(DAY * setting.speed, epochs) / share
        what = "train's images no longer stay in" if stage == "train" else f"{stage} takes more than"
        found.append((memory, f"{what} {in_words(setting.memory)} of memory"))
        found.append((day, f"{stage} takes more than a day on one host"))
    written = sum(costs["written"].per_image * (TESTED if stage == "evaluate" else 1)
                  for stage, costs in measured.stages.items() if stage not in TRACKED)  # fmt: skip
    # DVC's cache has a copy of each output, unless the file system can share their bytes.
    found.append((setting.disk / (2 * written), f"outputs and DVC's copies fill {in_words(setting.disk)} of disk"))
    return sorted((images, what) for images, what in found if images < float("inf"))


def in_percent(share: float) -> str:
    """A share of 1, such as 71 %, 0.3 % or under 0.1 %."""
    percent = 100 * share
    return "under 0.1 %" if percent < 0.1 else f"{percent:.1g} %" if percent < 1 else f"{percent:.0f} %"


def in_time(seconds: float) -> str:
    """A time with two significant digits or three, such as 90 s, 3.5 h or 12 days."""
    for unit, size, most in (("s", 1.0, 600.0), ("min", 60.0, 7200.0), ("h", 3600.0, 2 * DAY), ("days", DAY, 2 * YEAR)):
        if seconds < most:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / YEAR:,.0f} years" if seconds < float("inf") else "never"


def load_costs(model: str, path: Path = MEASURED) -> Measured:
    """What was measured of the model, all runs included."""
    measured = load_measured(path)
    if missing := {"stages", "steps", "checkpoints", "loads", "restarts", "exchanges"} - measured.keys():
        names = ", ".join(sorted(missing))
        sys.exit(f"error: {path}: no {names}; run python -m benchmarks.scaling and python -m benchmarks.hosts")
    runs = [Measurement(**row) for row in measured["stages"]]
    stages = {
        stage: {quantity: fit_cost(of_stage(runs, stage), quantity) for quantity in QUANTITIES}
        for stage in ("download", "normalize", "train linear", "evaluate linear", *TRACKED)
    }
    # The others are trained on fewer images here, and what they hold of each image is the same.
    train = stages.pop("train linear") | {"processor": fit_cost(of_stage(runs, f"train {model}"), "processor")}
    evaluate = stages.pop("evaluate linear")
    steps = [Steps(**row) for row in measured["steps"] if row["model"] == model]
    (checkpoint,) = (row["seconds"] for row in measured["checkpoints"] if row["model"] == model)
    restart = median(seconds for row in measured["restarts"] for seconds in Epochs(**row).restarts())
    (load,) = (row["processor"] / row["images"] for row in measured["loads"])
    tracked = {stage: stages.pop(stage) for stage in TRACKED}
    stages |= {"train": train, "evaluate": evaluate, **tracked}
    return Measured(stages, fit_step(steps), checkpoint, restart, load)


def load_link(name: str, path: Path = MEASURED) -> Link:
    """The link, by its all-reduces between two processes."""
    return fit_link(of_link([Exchange(**row) for row in load_measured(path)["exchanges"]], name))


if __name__ == "__main__":
    main()
