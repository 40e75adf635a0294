"""Train the chosen classifier on the training split."""

import csv
import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from src.augmentation import make_augmentation
from src.batches import Subset, images_bytes, load_subsets, steps_per_epoch, validation_split
from src.blocks import too_large
from src.calibration import fit_temperature
from src.checkpoints import Classifier, save_classifier
from src.csv_files import significant
from src.datasets import DatasetInfo, FileNames, load_files, load_info
from src.devices import arithmetic, choose_device, choose_precision, describe_device, place
from src.errors import MnistryError, describe_error
from src.familiarity import Familiarity, choose_references, fit_familiarity
from src.inference import BATCH_SIZE, MOST_LOGITS, logits_in_pieces, predict_logits, probabilities_of
from src.memory import require_room_for_batches, require_room_for_weights
from src.models import build_model, count_parameters, temperature_of
from src.outputs import require_room
from src.params import Params, Pretrained, Recipe, Train, read_params
from src.predictions import in_pieces, write_predictions
from src.processes import Processes, joined, needs_launcher, processes_per_host
from src.progress import Epoch, best_epoch
from src.recipes import RATES, Facts, complete_params, decided_by_content, describe_recipe
from src.resuming import Checkpoint, loaded_code, open_checkpoint, training_key
from src.runtime import prepare_process
from src.training import DivergedError, balanced_weights, fit, learns_from_one_image
from stages import log, run_stage, write_json

FEW_STEPS = 400
"""With fewer in all, every model underfits."""
USUAL_RATE = 0.01
"""A learning rate that few models diverge at, for the optimizers that have none of their own in RATES."""
FEW_PHOTOGRAPHS = 2000
"""Per class: with fewer, a pretrained network is far ahead of one that learns from scratch (docs/benchmarks.md)."""
MOST_PARAMETERS = 20_000
"""Per training image; with more, a smaller model learns as well, in less time."""
WORSE = 1.1
"""Another epoch is suggested where the last validation loss is this many times the lowest."""
UNEQUAL = 10
"""Class weights are suggested where the commonest class has this many times the images of the rarest."""


def main(normalized: Path, classifier: Path, train_json: Path, history_csv: Path, validation_csv: Path) -> None:
    """Write the trained `classifier`, its last epoch's metrics, the history of all epochs, and validation predictions.

    validation_csv: a row per image that was held out; none without such images. Where several processes train, this one
    starts them, and each of them comes here again.
    """
    paths = normalized, classifier, train_json, history_csv, validation_csv
    params = read_params()
    device = choose_device(params.device)
    count = processes_per_host(asked_processes(params), device)
    if needs_launcher(count):
        # Here, not above: one process has no use for it.
        from src.launching import launch

        launch(count, "stages.train", [str(path) for path in paths], log)
        return
    with joined(device) as (processes, own_device):
        train_classifier(params, own_device, processes, *paths)


def asked_processes(params: Params) -> Literal["auto"] | int:
    """What train.processes says, except that auto is 1 for the model that only one process can train."""
    return 1 if params.model == "pretrained" and params.train.processes == "auto" else params.train.processes


def train_classifier(
    params: Params, device: torch.device, processes: Processes, normalized: Path, classifier: Path, train_json: Path,
    history_csv: Path, validation_csv: Path,
) -> None:  # fmt: skip
    """Do all that `main` says, in this process and in those that train with it; only the leader writes and logs."""
    prepare_process()
    if processes.count > 1 and isinstance(params.recipe, Pretrained):
        raise MnistryError(
            f"train.processes: {processes.count} in all, but model pretrained is trained by one; expected 1 on one host"
        )
    torch.manual_seed(params.seed)
    dataset = load_info(normalized)
    in_blocks = processes.any(too_large(images_bytes(normalized, dataset, params.train), device))
    train, validation = load_subsets(normalized, dataset, params.train, params.seed, device, stored=bool(in_blocks))
    if params.train.keep == "best" and not len(validation):
        raise MnistryError(
            "train.keep: best goes by the validation loss, and no images are held out; expected last, or "
            "train.validation_fraction above 0"
        )
    written = params.recipe
    facts = Facts.of(dataset, len(train))
    params = complete_params(params, facts)
    recipe = params.recipe
    require_room_for_weights(params.model, recipe, dataset, device)
    model = place(build_model(params.model, recipe, dataset), device)
    precision = choose_precision(params.train.precision, device, model)
    log(
        f"{params.model}: {count_parameters(model):,} parameters on {describe_device(device)} "
        f"in {str(precision).removeprefix('torch.')}, {len(train)} training and {len(validation)} validation images"
        + held_out_from(dataset, params.train)
    )
    machine = arithmetic(device, precision)
    if processes.count > 1:
        machine["processes"] = str(processes.count)
    if in_blocks:
        log(in_blocks)
        machine["images"] = "in blocks"
    log(f"the same bytes come again with {', '.join(f'{name} {value}' for name, value in machine.items())}")
    log(f"recipe: {describe_recipe(recipe, written)}")
    if dataset.content is None and (undecided := decided_by_content(params.model, written, facts)):
        log(
            f"hint: what the images show would decide {', '.join(undecided)}; until `content: objects`, or characters, "
            "in the dataset's source.yaml says it, auto does nothing that could change a character"
        )
    batch_size = min(recipe.batch_size, len(train))
    share = processes.share(batch_size) if processes.count > 1 else None
    if batch_size < processes.count:
        raise MnistryError(f"train.processes: {processes.count} in all can't share batches of {batch_size} images")
    log(f"batches of images {(batch_size, *dataset.shape)} and labels {(batch_size,)}")
    refuse_batches_of_one(params.model, model, train, recipe.batch_size)
    own_batch = recipe.model_copy(update={"batch_size": len(share)}) if share else recipe
    require_room_for_batches(params.model, model, own_batch, train, device, precision)
    train_labels = train.labels.cpu()[train.indices].numpy()
    for hint in hints(params, train_labels, dataset.class_names, count_parameters(model)):
        log(f"hint: {hint}")
    require_room(classifier, sum(tensor.nbytes for tensor in model.state_dict().values()))
    require_room(train_json, 0)
    require_room(validation_csv, 0)
    weights = pretrained_weights(model, recipe)
    inputs = key_inputs(params, dataset, machine) | {"weights": weights}
    processes.require_same({**inputs, "machine": {"torch": machine["torch"]}})
    checkpoint = open_checkpoint(training_key(inputs), log)
    if checkpoint.epochs:
        done = f"epoch {checkpoint.epochs[-1].number}/{recipe.epochs}, kept in {checkpoint.path}"
        log(f"training goes on after {done}; with MNISTRY_RESUME=no, it starts afresh")
    class_weights = None
    if params.train.class_weights == "balanced":
        class_weights = balanced_weights(train_labels, len(dataset.class_names)).to(device)
    learner, learned, held_out = model, train, validation
    if isinstance(recipe, Pretrained):
        learner, learned, held_out = pretrained_learner(
            model, train, validation, params, precision, checkpoint, class_weights
        )
    epochs = fit(
        learner,
        learned,
        held_out,
        recipe,
        generator=torch.Generator().manual_seed(params.seed),
        augment=make_augmentation(recipe.augment, params.seed, device, share) if learner is model else None,
        class_weights=class_weights,
        precision=precision,
        keep=params.train.keep,
        checkpoint=checkpoint if processes.leads else None,
        processes=processes,
    )
    if not processes.leads:
        deque(epochs, maxlen=0)
        return
    with kept_on_error(checkpoint, params):
        history = write_history(epochs, checkpoint.epochs, recipe.epochs, history_csv)
        kept = kept_epoch(history, params.train.keep)
        warning = worse_than_untrained(history, kept, params, len(dataset.class_names)) or learned_nothing(
            history[-1].train.accuracy, params, train_labels
        )
        if warning:
            log(f"warning: {warning}")
        probabilities = calibrate(model, validation, len(dataset.class_names))
        save_classifier(classifier, Classifier(model, params.model, recipe, dataset, familiarity_of(train), weights))
        untrained = untrained_loss(history, recipe, len(dataset.class_names))
        write_json(train_json, train_metrics(history, kept, model, untrained))
        files = load_files(normalized, validation_split(dataset, params.train), len(validation.labels))
        write_validation(validation_csv, validation, files, dataset, probabilities)
    checkpoint.remove()
    if few := few_photographs(params.model, dataset, len(train)):
        log(f"hint: {few}")


def few_photographs(model: str, dataset: DatasetInfo, images: int) -> str | None:
    """What to try after a model has learned from scratch what photographs, of which there are few, may show."""
    few = images < FEW_PHOTOGRAPHS * len(dataset.class_names)
    photographs = dataset.shape[0] > 1 and dataset.content != "characters"
    if model not in ("mlp", "cnn", "resnet") or not photographs or not few:
        return None
    return (
        f"{images:,} colour images are few to learn from scratch; a network that was trained on a million others "
        "knows more: dvc exp run -S model=pretrained"
    )


def pretrained_weights(model: nn.Module, recipe: Recipe) -> dict[str, str] | None:
    """Give a pretrained model its weights, and say which; None for other models."""
    if not isinstance(recipe, Pretrained):
        return None
    # They are in no other model's way.
    from src.transfer import start_from_weights
    from src.weights import PACKAGED

    weights = start_from_weights(model, recipe)
    log(f"weights of {weights.backbone} from {weights.source}, SHA-256 {weights.sha256}")
    if recipe.weights == "any" and weights.backbone != PACKAGED:
        log(f"hint: to accept these weights alone from now on: -S models.pretrained.weights={weights.sha256}")
    return asdict(weights)


def pretrained_learner(
    model: nn.Module, train: Subset, validation: Subset, params: Params, precision: torch.dtype, checkpoint: Checkpoint,
    class_weights: Tensor | None,
) -> tuple[nn.Module, Subset, Subset]:  # fmt: skip
    """What is to be fitted to what: the head to the backbone's features, or all of the model to the images.

    In that case, the head is trained before, unless the training goes on from a checkpoint.
    """
    from src.transfer import feature_subsets, train_head

    recipe = params.recipe
    assert isinstance(recipe, Pretrained)
    if recipe.trained == "all" and checkpoint.epochs:
        return model, train, validation
    if recipe.trained == "head":
        features = feature_subsets(model, train, validation, recipe.augment.flip, precision, log)
        return model.get_submodule("network.head"), *features
    # It is a start: mirror images would take twice the time.
    none = replace(validation, indices=validation.indices[:0])
    of_train, _ = feature_subsets(model, train, none, False, precision, log)
    loss = train_head(model, of_train, recipe, params.seed, class_weights)
    log(f"the head is trained, to a loss of {loss:.4f}; now the whole network")
    return model, train, validation


def held_out_from(dataset: DatasetInfo, options: Train) -> str:
    """Where the validation images come from, as the end of a line; nothing where it is as most expect it."""
    if options.folds:
        unused = "; the source's own validation split is not used" if "validation" in dataset.sha256 else ""
        return f", which are fold {options.fold} of {options.folds}{unused}"
    return " of the source's own validation split" if validation_split(dataset, options) == "validation" else ""


def familiarity_of(train: Subset) -> Familiarity | None:
    """What the training images look like; None where there are too few to say."""
    chosen = train.indices[torch.from_numpy(choose_references(len(train)))]
    return fit_familiarity(images.cpu().numpy() for images, _ in train.gather(chosen, BATCH_SIZE))


def calibrate(model: nn.Module, validation: Subset, num_classes: int) -> Iterator[np.ndarray]:
    """Set the model's temperature, if there are images to fit it on; then its probabilities for the validation images.

    They are float64 of shape (n, K), piece by piece. Where the logits are more than one piece, the temperature is
    fitted on those of evenly spread images.
    """
    temperature = temperature_of(model)
    # Of a training that was kept after its end, it may be set already.
    temperature.fill_(1)
    every = -(-len(validation) * num_classes // MOST_LOGITS)
    some = replace(validation, indices=validation.indices[:: max(every, 1)].contiguous())
    logits = predict_logits(model, (images for images, _ in some.in_order(BATCH_SIZE)), len(some))
    if len(some):
        fitted = fit_temperature(logits, held_out_labels(some))
        temperature.fill_(fitted)
        log(f"temperature {fitted:.4g}, fitted on {len(some)} validation images, calibrates the probabilities")
    if len(some) == len(validation):
        return iter([probabilities_of(logits / temperature)])
    batches = (images for images, _ in validation.in_order(BATCH_SIZE))
    return map(probabilities_of, logits_in_pieces(model, batches, len(validation)))


def held_out_labels(validation: Subset) -> Tensor:
    """Of the images that were held out, int64 of shape (N,), on the CPU."""
    return validation.labels.cpu()[validation.indices]


def write_validation(
    path: Path, validation: Subset, files: FileNames, dataset: DatasetInfo, probabilities: Iterable[np.ndarray]
) -> None:
    """Write the trained model's predictions for the validation images, if any.

    files: what the images of the split are called that they are of. probabilities: as `calibrate` gives them.
    """
    labels, indices = held_out_labels(validation).numpy(), validation.indices.numpy()
    write_predictions(path, in_pieces(indices, labels, probabilities), files, dataset.class_names)


def key_inputs(params: Params, dataset: DatasetInfo, machine: Mapping[str, str]) -> dict[str, Any]:
    """All that the trained classifier and its metrics depend on."""
    return {
        "code": loaded_code("src", "stages"),
        "dataset": asdict(dataset),
        "machine": machine,
        "seed": params.seed,
        "train": params.train.model_dump(),
        "model": params.model,
        "recipe": params.recipe.model_dump(),
    }


def refuse_batches_of_one(name: str, model: nn.Module, train: Subset, batch_size: int) -> None:
    """Raise MnistryError where the batches hold one image and the model needs more to be trained."""
    if min(batch_size, len(train)) > 1:
        return
    image, _ = next(train.gather(train.indices[:1], 1))
    if not learns_from_one_image(model, image):
        raise MnistryError(
            f"models.{name}: batch normalization can't be trained on 1 image per batch where its feature maps are of "
            f"1 pixel; training images: {len(train)}, batch_size: {batch_size}; expected at least 2 of "
            f"both, such as -S models.{name}.batch_size=2, or larger images"
        )


@contextmanager
def kept_on_error(checkpoint: Checkpoint, params: Params) -> Iterator[None]:
    """Raise MnistryError with what to do where the block diverges, or can't write; the last epoch is kept then."""
    try:
        yield
    except DivergedError as error:
        checkpoint.remove()
        raise MnistryError(
            f"{error}; {advice(params, error.epoch == error.step == 1)}; no classifier was written: "
            "`make recover` brings back the last one"
        ) from None
    except (OSError, MnistryError) as error:
        kept = checkpoint.write()
        if isinstance(error, BrokenPipeError):
            raise
        end = (
            f"the training is kept in {checkpoint.path}, and the next `dvc repro` goes on from it"
            if kept
            else "the training is lost"
        )
        raise MnistryError(f"{describe_error(error)}; {end}") from None


def advice(params: Params, untrained: bool = False) -> str:
    """The likely cause of a loss that is too large, and what to try. untrained: the weights hadn't changed yet."""
    recipe, prefix = params.recipe, f"-S models.{params.model}"
    if untrained:
        return f"no step had been taken, so it is the images or the params under models.{params.model}"
    usual = RATES.get(recipe.optimizer, USUAL_RATE)
    if recipe.learning_rate <= usual and decays_too_much(recipe):
        lower, value = "weight_decay", 0.1
    else:
        lower, value = "learning_rate", min(recipe.learning_rate / 10, usual)
    return f"most likely, {lower} {getattr(recipe, lower):g} is too high; try {prefix}.{lower}={value:g}"


def decays_too_much(recipe: Recipe) -> bool:
    """Whether a step of decay alone takes the weights to 0 or beyond."""
    return recipe.learning_rate * recipe.weight_decay >= 1


def learned_nothing(accuracy: float, params: Params, labels: np.ndarray) -> str | None:
    """What to say where always answering the commonest class would be about as good; with weighted classes, nothing.

    accuracy: of the last epoch, on the training images. labels: of those, int64.
    """
    share = np.bincount(labels).max() / len(labels)
    # Three standard deviations: weights that decay at each step give one answer, but not the same one for each batch.
    chance = 3 * math.sqrt(share * (1 - share) / len(labels))
    if params.train.class_weights == "balanced" or accuracy > share + chance:
        return None
    recipe = params.recipe
    certain = recipe.learning_rate > RATES.get(recipe.optimizer, USUAL_RATE) or decays_too_much(recipe)
    return (
        f"the last training accuracy, {accuracy:.4f}, is hardly better than always answering the commonest class, "
        f"{share:.4f}; "
        + (advice(params) if certain else "try more epochs or a lower weight_decay, and look at images and labels")
    )


def worse_than_untrained(history: Sequence[Epoch], kept: Epoch, params: Params, num_classes: int) -> str | None:
    """What to say where a last loss is above both the untrained model's and that of equal shares for all classes.

    Nothing of the validation loss where that of the epoch that was kept is not.
    """
    last, limit = history[-1], max(untrained_loss(history, params.recipe, num_classes), math.log(num_classes))
    if last.train.loss > limit:
        return f"the last training loss, {last.train.loss:.5g}, is above the untrained {limit:.5g}; {advice(params)}"
    if last.validation and kept.validation and min(last.validation.loss, kept.validation.loss) > limit:
        return (
            f"the last validation loss, {last.validation.loss:.5g}, is above the untrained {limit:.5g}, and the last "
            "training loss is not: the model learned its images by heart; try augmentation or fewer epochs"
        )
    return None


def kept_epoch(history: Sequence[Epoch], keep: Literal["last", "best"]) -> Epoch:
    """The epoch whose weights are kept, which the log says where it could be another."""
    last = history[-1]
    if last.validation is None:
        return last
    best = best_epoch(history)
    loss = best.validation.loss if best.validation else math.inf
    if keep == "best":
        log(f"kept: epoch {best.number}, with the lowest validation loss, {loss:.4f}")
        return best
    if last.validation.loss > WORSE * loss:
        log(
            f"hint: the last validation loss, {last.validation.loss:.4f}, is above the {loss:.4f} of epoch "
            f"{best.number}; -S train.keep=best keeps that epoch"
        )
    return last


def untrained_loss(history: Sequence[Epoch], recipe: Recipe, num_classes: int) -> float:
    """That of the first batch, before the weights changed.

    A pretrained model's is that of equal shares for all classes, with which its head begins: when all of it is
    trained, the head was trained before.
    """
    return math.log(num_classes) if isinstance(recipe, Pretrained) else history[0].first_loss


def train_metrics(history: Sequence[Epoch], kept: Epoch, model: nn.Module, untrained: float) -> dict[str, float]:
    """What train.json holds: the losses are those of the epoch that was kept, and the one of the untrained model."""
    counts = {"epochs": history[-1].number, "kept_epoch": kept.number, "parameters": count_parameters(model)}
    losses = {"untrained_loss": significant(untrained)} | epoch_metrics(kept)
    metrics = counts | {name: value for name, value in losses.items() if value is not None}
    return metrics | {"temperature": significant(float(temperature_of(model)))}


def hints(params: Params, labels: np.ndarray, class_names: Sequence[str], parameters: int) -> Iterator[str]:
    """What the params may be wrong about. labels: of the images to train on, int64. parameters: of the model."""
    steps, epochs = steps_per_epoch(len(labels), params.recipe.batch_size), params.recipe.epochs
    if steps * epochs < FEW_STEPS and not isinstance(params.recipe, Pretrained):
        yield (
            f"{steps * epochs} steps in all are few; a small dataset takes more epochs, "
            f"such as -S models.{params.model}.epochs={math.ceil(FEW_STEPS / steps)}"
        )
    if parameters > MOST_PARAMETERS * len(labels) and not isinstance(params.recipe, Pretrained):
        yield (
            f"{parameters:,} parameters for {len(labels)} training images are very many; try a smaller model, by the "
            f"params under models.{params.model}, or smaller images, by image_size in source.yaml"
        )
    counts = np.bincount(labels, minlength=len(class_names))
    most, fewest = int(counts.argmax()), int(counts.argmin())
    if params.train.class_weights == "none" and counts[most] >= UNEQUAL * counts[fewest]:
        yield (
            f"class {class_names[most]!r} has {counts[most]} training images and {class_names[fewest]!r} has "
            f"{counts[fewest]}; -S train.class_weights=balanced gives all classes the same weight"
        )


def write_history(epochs: Iterable[Epoch], before: Sequence[Epoch], total: int, path: Path) -> list[Epoch]:
    """Train by going through the epochs, each logged and written to the CSV as it ends; all of them.

    before: those of an earlier run, which come first in the CSV.
    """
    history, seconds = list(before), sum(epoch.seconds for epoch in before)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("w", newline="") as file,
        tqdm(total=total, initial=len(before), desc="train", unit="epoch", disable=None, dynamic_ncols=True) as bar,
    ):
        writer = csv.DictWriter(file, ("epoch", *epoch_metrics(None)), lineterminator="\n")
        writer.writeheader()
        writer.writerows({"epoch": epoch.number} | epoch_metrics(epoch) for epoch in before)
        for epoch in epochs:
            history.append(epoch)
            seconds += epoch.seconds
            writer.writerow({"epoch": epoch.number} | epoch_metrics(epoch))
            file.flush()
            report(bar, describe_epoch(epoch, total, seconds))
    return history


def epoch_metrics(epoch: Epoch | None) -> dict[str, float | None]:
    """The columns of history.csv after `epoch`; None where there is no such metric."""
    columns: dict[str, float | None] = {}
    for split in ("train", "validation"):
        score = getattr(epoch, split) if epoch else None
        columns[f"{split}_loss"] = significant(score.loss) if score else None
        columns[f"{split}_accuracy"] = score.accuracy if score else None
    return columns


def report(bar: tqdm, line: str) -> None:
    """Log a line, above the bar where there is one, and move the bar on."""
    with bar.external_write_mode():
        log(line)
    bar.update()


def describe_epoch(epoch: Epoch, epochs: int, seconds: float) -> str:
    """A line for the log. seconds: of all epochs so far."""
    line = f"epoch {epoch.number}/{epochs}: train loss {epoch.train.loss:.4f}, accuracy {epoch.train.accuracy:.4f}"
    if epoch.validation:
        line += f"; validation loss {epoch.validation.loss:.4f}, accuracy {epoch.validation.accuracy:.4f}"
    per_epoch = seconds / epoch.number
    left = tqdm.format_interval(per_epoch * (epochs - epoch.number))
    return f"{line}; {epoch.images_per_second:,.0f} images/s, {per_epoch:.2f} s per epoch, {left} left"


if __name__ == "__main__":
    run_stage(main)
