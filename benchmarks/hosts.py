"""What several processes cost: all-reduces, training steps, and a process that is killed: `python -m benchmarks.hosts`.

With gloo, on this machine (one, two and four processes) and between two hosts, which are network namespaces joined by a
link of 1 Gbit/s (needs root, ip and tc). Each process has one thread, and networks are trained by the pipeline's own
`train_epoch` on random images of 28x28 in batches of the recipe's size. Then the train stage runs in two processes, one
of which is killed, twice. The measurements go into benchmarks/measured.json and the tables into docs/scaling.md. Needs
`data/normalized/mnist`; takes about six minutes on two cores.
"""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
import yaml

from benchmarks.costs import keep_measured, load_measured
from benchmarks.decoding import descendants
from benchmarks.exchange import GIGABIT, LOOPBACK, SIZES, Exchange, Steps, fit_link, fit_step, of_link
from benchmarks.failures import YEAR, Epochs, Restarts
from benchmarks.scaling import NORMALIZED, PAGE, off
from benchmarks.sections import put_section
from src.batches import Subset, load_subsets, shuffled_batches
from src.datasets import load_info
from src.devices import choose_precision, place
from src.models import build_model
from src.params import Recipe, read_params
from src.processes import Processes
from src.progress import Progress
from src.recipes import Facts, complete
from src.resuming import SECONDS, Checkpoint
from src.runtime import prepare_process
from src.synced_batch_norm import SyncedBatchNorm
from src.training import all_generators, make_optimizer, train_epoch

SECTION = "hosts"
MODELS = {"linear": 50, "mlp": 25, "cnn": 8, "resnet": 4}
"""How many steps are measured together, ROUNDS times."""
ROUNDS, REPEATS = 3, 30
KILLED_AFTER = (25.0, 15.0)
"""Seconds of training until a process is killed, from the start and from the first epoch after it."""
KILLED, EPOCHS = "linear", 20
RUNS = 10_000
"""Trainings that are simulated."""
CPU = torch.device("cpu")
Row = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """A checkpoint of a model: its bytes, and the seconds that writing it took."""

    model: str
    size: int
    seconds: float


@dataclass(frozen=True)
class Loaded:
    """Images that train looks through before its first epoch, and the processor's seconds that it takes."""

    images: int
    processor: float


def main() -> None:
    """Measure and keep it, or be one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (all); what else is kept stays")
    parser.add_argument("--process", nargs=3, metavar=("RANK", "COUNT", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.process:
        rank, count, folder = arguments.process
        take_part(int(rank), int(count), Path(folder))
        return
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    if os.name != "posix" or os.geteuid() or not (shutil.which("ip") and shutil.which("tc")):
        sys.exit("error: it needs root, ip and tc (iproute2) to make network namespaces")
    if not NORMALIZED.exists():
        sys.exit(f"error: {NORMALIZED} is missing; run `dvc exp run -S dataset=mnist` first")
    for part in arguments.parts or PARTS:
        PARTS[part]()
    put_section(PAGE, SECTION, hosts_section())


def keep_processes() -> None:
    """Measure all-reduces and training steps of one process, of two and four, and of two hosts."""
    exchanges: list[Exchange] = []
    steps: list[Steps] = []
    for count in (1, 2, 4):
        measure_processes([[]] * count, LOOPBACK if count > 1 else "", exchanges, steps)
    with namespaces() as prefixes:
        measure_processes(prefixes, GIGABIT, exchanges, steps)
    keep_measured("exchanges", exchanges)
    keep_measured("steps", steps)


def keep_restarts() -> None:
    """Measure checkpoints, what each start of a training looks through, and a training that loses processes."""
    keep_measured("loads", [looked_through()])
    keep_measured("checkpoints", [written_checkpoint(model) for model in MODELS])
    keep_measured("restarts", [train_and_kill(KILLED_AFTER)])


def measure_processes(
    prefixes: Sequence[Sequence[str]], link: str, exchanges: list[Exchange], steps: list[Steps]
) -> None:
    """Add what as many processes measure as there are commands that they are started by."""
    count = len(prefixes)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth0" if link == GIGABIT else "lo"}
    with tempfile.TemporaryDirectory() as folder:
        started = [
            subprocess.Popen(
                [*prefix, sys.executable, "-m", "benchmarks.hosts", "--process", str(rank), str(count), folder],
                env=environment,
            )
            for rank, prefix in enumerate(prefixes)
        ]
        statuses = [process.wait() for process in started]
        if any(statuses):
            sys.exit("error: a process failed")
        found = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(count)]
    exchanges += [Exchange(link, count, **row) for row in found[0]["exchanges"]]
    for rows in zip(*(each["steps"] for each in found), strict=True):
        processor = sum(row.pop("processor") for row in rows)
        steps.append(Steps(link=link, processes=count, processor=processor, **rows[0]))
    print(exchanges[-1:], steps[-1:], file=sys.stderr)


@contextmanager
def namespaces() -> Iterator[list[list[str]]]:
    """What to write before a command to run it on the first host or on the second, 10.77.0.1 and 10.77.0.2.

    They are network namespaces, joined by a link of 1 Gbit/s. Raises PermissionError where none may be made.
    """
    names = [f"mnistry{os.getpid()}-{number}" for number in (1, 2)]
    if subprocess.run(["ip", "netns", "add", names[0]], check=False, stderr=subprocess.DEVNULL).returncode:
        raise PermissionError("may not make network namespaces here")
    commands = [
        f"ip netns add {names[1]}",
        f"ip link add eth0 netns {names[0]} type veth peer name eth0 netns {names[1]}",
    ]
    for number, name in enumerate(names, 1):
        commands += [
            f"ip -n {name} link set lo up",
            f"ip -n {name} addr add 10.77.0.{number}/24 dev eth0",
            f"ip -n {name} link set eth0 up",
            f"ip netns exec {name} tc qdisc add dev eth0 root tbf rate 1gbit burst 128kb latency 50ms",
        ]
    try:
        for command in commands:
            subprocess.run(command.split(), check=True)
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def take_part(rank: int, count: int, folder: Path) -> None:
    """Measure as one of `count` processes, and leave it in the folder."""
    prepare_process()
    if count > 1:
        dist.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=count)
    exchanges = [all_reduce(size) for size in SIZES] if count > 1 else []
    processes = Processes(rank, count)
    # What a process of two or four has to compute is measured by itself as well.
    parts = (1, 2) if count == 1 else (1,)
    steps = [training_steps(model, processes, part) for model in MODELS for part in parts]
    (folder / f"{rank}.json").write_text(json.dumps({"exchanges": exchanges, "steps": steps}))
    if count > 1:
        dist.destroy_process_group()


def all_reduce(size: int) -> Row:
    """The shortest wall time of all-reduces of so many bytes, which others' work lengthens; the mean processor time."""
    tensor, times = torch.zeros(size // 4), []
    for _ in range(3):
        dist.all_reduce(tensor)
    used = time.process_time()
    for _ in range(REPEATS):
        start = time.perf_counter()
        dist.all_reduce(tensor)
        times.append(time.perf_counter() - start)
    return {"size": size, "seconds": min(times), "processor": (time.process_time() - used) / REPEATS}


def training_steps(model: str, processes: Processes, part: int) -> Row:
    """Seconds per step of the model by its recipe: the shortest of several rounds; the processor's are the mean.

    part: what the recipe's batch size is divided by.
    """
    network, recipe = build(model)
    recipe = recipe.model_copy(update={"batch_size": recipe.batch_size // part})
    precision, steps = choose_precision("auto", CPU, network), MODELS[model]
    count = steps * recipe.batch_size
    images = torch.randint(256, (count, *load_info(NORMALIZED).shape), dtype=torch.uint8)
    subset = Subset(images, torch.arange(count) % 10, torch.arange(count))
    share = processes.share(recipe.batch_size)
    loss = processes.loss(torch.nn.CrossEntropyLoss(), share)
    optimizer, wrapped = make_optimizer(network, recipe), processes.wrap(network)
    times: list[float] = []
    used = 0.0
    for number in range(ROUNDS + 1):
        start, before = time.perf_counter(), time.process_time()
        batches = shuffled_batches(subset, recipe.batch_size, torch.Generator().manual_seed(number), share)
        train_epoch(wrapped, batches, steps, optimizer, None, loss, precision, processes)
        # The first round allocates.
        if number:
            times.append((time.perf_counter() - start) / steps)
            used += (time.process_time() - before) / steps / ROUNDS
    return {
        "model": model, "batch_size": recipe.batch_size, "seconds": min(times), "processor": used,
        "exchanges": exchanges_of(network) if processes.count > 1 else [],
    }  # fmt: skip


def build(model: str) -> tuple[torch.nn.Module, Recipe]:
    """The model for MNIST, and the recipe by which it is trained."""
    torch.manual_seed(0)
    dataset = load_info(NORMALIZED)
    recipe = complete(model, getattr(read_params().models, model), Facts(60_000, "characters"))
    return place(build_model(model, recipe, dataset), CPU), recipe


def exchanges_of(network: torch.nn.Module) -> list[int]:
    """Bytes of each all-reduce of a step: gradients, which of them are there, and both ways of batch normalizations."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    # Sums, sums of squares and counts per channel, in float64.
    channels = [len(layer.weight) for layer in network.modules() if isinstance(layer, SyncedBatchNorm)]
    normalized = [3 * 8 * count for count in channels for _ in ("forward", "backward")]
    return [sum(parameter.nbytes for parameter in parameters), 4 * len(parameters), *normalized]


def written_checkpoint(model: str) -> Kept:
    """The median time of writing one, with what its optimizer holds after a step."""
    network, recipe = build(model)
    optimizer = make_optimizer(network, recipe)
    images = torch.zeros((2, *load_info(NORMALIZED).shape), dtype=torch.uint8)
    network(images).sum().backward()
    optimizer.step()
    progress = Progress(network, optimizer, None, all_generators(network, torch.Generator(), None))
    times = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder), "key", print)
        for _ in range(REPEATS):
            start = time.perf_counter()
            checkpoint.update(progress)
            checkpoint.write()
            times.append(time.perf_counter() - start)
        return Kept(model, checkpoint.path.stat().st_size, median(times))


def looked_through() -> Loaded:
    """The shortest of several times that it takes to check and divide MNIST's training images."""
    info, options, times = load_info(NORMALIZED), read_params().train, []
    for _ in range(ROUNDS):
        start = time.process_time()
        parts = load_subsets(NORMALIZED, info, options, 0, CPU)
        times.append(time.process_time() - start)
    return Loaded(sum(map(len, parts)), min(times))


def train_and_kill(killed_after: Sequence[float]) -> Epochs:
    """How the train stage goes in two processes, one of which is killed after each of these times."""
    project = Path.cwd()
    params = yaml.safe_load(Path("params.yaml").read_text("utf-8")) | {"model": KILLED, "dataset": "mnist"}
    params["train"]["processes"], params["models"][KILLED]["epochs"] = 2, EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "params.yaml").write_text(yaml.safe_dump(params))
        environment = os.environ | {
            "PYTHONPATH": str(project), "OMP_NUM_THREADS": "2", "MNISTRY_CHECKPOINTS": f"{folder}/checkpoints"
        }  # fmt: skip
        outputs = ("classifier", "train.json", "history.csv", "validation.csv")
        command = [sys.executable, "-m", "stages.train", str(project / NORMALIZED), *outputs]
        training = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        assert training.stdout is not None
        killed, numbers, times = [], [], []
        begin = time.monotonic()
        waiting, since = list(killed_after), 0.0
        for line in training.stdout:
            now = time.monotonic() - begin
            if not line.startswith("epoch "):
                continue
            numbers.append(int(line.split()[1].partition("/")[0]))
            times.append(now)
            since = since or now
            if waiting and now - since >= waiting[0]:
                # In the middle of an epoch.
                time.sleep((times[-1] - times[-2]) / 2)
                os.kill(descendants(training.pid)[0], signal.SIGKILL)
                killed.append(time.monotonic() - begin)
                since = 0.0
                del waiting[0]
        if training.wait():
            sys.exit("error: training failed")
    return Epochs(tuple(killed), tuple(numbers), tuple(times))


def hosts_section() -> list[str]:
    """The lines of docs/scaling.md: what was measured, and what the rest of it says of a part that it hasn't seen."""
    measured = load_measured()
    exchanges = [Exchange(**row) for row in measured["exchanges"]]
    steps = [Steps(**row) for row in measured["steps"]]
    killed = Epochs(**measured["restarts"][-1])
    return [*exchanges_table(exchanges), *steps_table(steps, exchanges), *restarts_table(killed)]


def exchanges_table(exchanges: Sequence[Exchange]) -> list[str]:
    """All-reduces, and what two of them say of the others."""
    lines = ["| link | processes | bytes | measured, ms | predicted |", "|---|---|---|---|---|"]
    links = {}
    for name in (LOOPBACK, GIGABIT):
        known = of_link(exchanges, name)
        links[name] = fit_link(known)
        for each in (each for each in exchanges if each.link == name):
            predicted = links[name].all_reduce(each.size, each.processes)
            shown = "" if each in known else f"{1e3 * predicted:.3g} ({off(predicted, each.seconds)})"
            lines.append(f"| {name} | {each.processes} | {each.size:,} | {1e3 * each.seconds:.3g} | {shown} |")
    fits = (
        f"{name}: {1e6 * link.latency:.0f} µs per message, {8 * link.bandwidth / 1e9:.2g} Gbit/s"
        for name, link in links.items()
    )
    return [
        *lines,
        f"\nFitted to the rows without a prediction: {'; '.join(fits)}. Processor time per step and wall time:\n",
    ]


def steps_table(steps: Sequence[Steps], exchanges: Sequence[Exchange]) -> list[str]:
    """Training steps, and what those of one and of two processes say of four, and of two hosts."""
    lines = [
        "| model | 1 process, ms | 2 | 4 | 4, predicted | 1 Gbit/s, wall time | predicted | exchanged, kB in |",
        "|---|---|---|---|---|---|---|---|",
    ]
    link = fit_link(of_link(exchanges, GIGABIT))
    for model in MODELS:
        own = [each for each in steps if each.model == model]
        found = {(each.link, each.processes, each.batch_size): each for each in own}
        whole = max(each.batch_size for each in own)
        one, two, four = (found[link, count, whole] for link, count in (("", 1), (LOOPBACK, 2), (LOOPBACK, 4)))
        cost, distant = fit_step(own), found[GIGABIT, 2, whole]
        predicted, wall = 4 * cost.processor(whole, 4), cost.seconds(whole, 2, link)
        lines.append(
            f"| {model} | {' | '.join(f'{1e3 * each.processor:.3g}' for each in (one, two, four))} "
            f"| {1e3 * predicted:.3g} ({off(predicted, four.processor)}) | {1e3 * distant.seconds:.3g} "
            f"| {1e3 * wall:.3g} ({off(wall, distant.seconds)}) "
            f"| {sum(cost.exchanges) / 1e3:,.0f} in {len(cost.exchanges)} |"
        )
    return lines


def restarts_table(run: Epochs) -> list[str]:
    """A training that lost processes, and how long it takes by the model: the restart is the first loss's alone."""
    checkpoint = median(Kept(**row).seconds for row in load_measured()["checkpoints"] if row["model"] == KILLED)
    epoch, first = run.epoch(), run.restarts()[0]
    restarts = Restarts(epoch * math.ceil(SECONDS / epoch), checkpoint, first)
    losses = [loss - run.work_began() for loss in run.killed]
    predicted, measured = restarts.replay(epoch * max(run.numbers), losses), run.times[-1] - run.work_began()
    work = epoch * max(run.numbers)
    between = measured / len(losses)
    times = restarts.simulated(work, 2, 2 * between / YEAR, RUNS)
    seconds = " and ".join(f"{each:.1f}" for each in run.restarts())
    return [
        f"\nA process killed twice in {max(run.numbers)} epochs of {epoch:.1f} s, a checkpoint at the end of one after "
        f"{SECONDS:.0f} s: {seconds} s from the loss until work went on. The training took {measured:.0f} s; the "
        f"model, which is given when the losses came and how long the first restart took, says {predicted:.0f} "
        f"({off(predicted, measured)}), and {restarts.replay(work, []):.0f} without losses. Were losses to come as "
        f"often but at random, it would take {times.mean():.1f} s on average over {RUNS:,} simulated runs (standard "
        f"deviation {times.std():.0f}), and {restarts.expected(work, between):.1f} s by Daly's formula."
    ]


PARTS = {"processes": keep_processes, "restarts": keep_restarts}


if __name__ == "__main__":
    main()
