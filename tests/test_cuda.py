"""What holds on a GPU as on the processor. Skipped where torch finds none for CUDA."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from src.augmentation import make_augmentation
from src.batches import Subset, make_subset, shuffled_batches
from src.devices import place
from src.errors import MnistryError, describe_error
from src.heatmaps import heatmaps
from src.inference import predict_logits
from src.memory import require_room_for_features
from src.models import build_model
from src.params import MODELS, Params, Recipe
from src.resuming import Checkpoint
from src.runtime import prepare_process
from src.training import OPTIMIZERS, balanced_weights, fit
from src.transfer import feature_subsets
from stages import download, evaluate, normalize, train
from tests.conftest import PROJECT, dataset_info

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU for CUDA")

CUDA = torch.device("cuda")
INFO = dataset_info(shape=(3, 28, 28))


@pytest.fixture(autouse=True)
def _prepared():
    """As each stage prepares its process; what other tests need is put back."""
    prepare_process()
    yield
    torch.set_deterministic_debug_mode("default")


def images(count: int) -> np.ndarray:
    """Random ones, uint8 of shape (count, 3, 28, 28)."""
    return np.random.default_rng(0).integers(0, 256, (count, *INFO.shape), np.uint8)


def subset(count: int, device: torch.device) -> Subset:
    """Random images of ten classes."""
    return make_subset(images(count), np.arange(count) % 10, device)


def recipe_of(params: Params, name: str, **changes: object) -> Recipe:
    """The default one for two epochs in batches of 32, with every kind of augmentation, and all weights trained."""
    recipe: Recipe = getattr(params.models, name)
    augment = recipe.augment.model_copy(update={"shift": 0.1, "rotation": 15, "flip": True, "cutout": 0.3})
    all_weights = {"trained": "all"} if name == "pretrained" else {}
    changes = {"epochs": 2, "batch_size": 32, "augment": augment, "flip_at_inference": True} | all_weights | changes
    return recipe.model_copy(update=changes)


def trained(
    name: str, recipe: Recipe, precision: torch.dtype, checkpoint: Checkpoint | None = None, most: int = 100
) -> dict[str, Tensor]:
    """The weights after training on 256 images, with dropout, class weights and validation; most: of epochs."""
    torch.manual_seed(0)
    normalization, network, calibrate = build_model(name, recipe, INFO)
    model = place(nn.Sequential(normalization, nn.Dropout(0.1), network, calibrate), CUDA)
    train_images = subset(256, CUDA)
    epochs = fit(
        model, train_images, subset(64, CUDA), recipe,
        generator=torch.Generator().manual_seed(0), augment=make_augmentation(recipe.augment, 0, CUDA),
        class_weights=balanced_weights(train_images.labels.cpu().numpy(), 10).to(CUDA), precision=precision,
        checkpoint=checkpoint,
    )  # fmt: skip
    for _ in zip(range(most), epochs, strict=False):
        pass
    return model.state_dict()


def assert_same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """In every weight and buffer."""
    assert [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])] == []


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_out_the_same_to_the_last_bit(params, name, precision):
    """Trained twice from one seed."""
    recipe = recipe_of(params, name)
    first = trained(name, recipe, precision)
    assert_same_bits(trained(name, recipe, precision), first)
    assert all(tensor.device.type == "cuda" for tensor in first.values())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_goes_on_from_a_checkpoint_with_the_same_bits(params, tmp_path, monkeypatch, optimizer):
    """Its state comes back to the GPU."""
    monkeypatch.setattr("src.resuming.SECONDS", 0)
    monkeypatch.setattr("src.resuming.SHARE", math.inf)
    recipe = recipe_of(params, "cnn", optimizer=optimizer, epochs=3, learning_rate=0.01)
    expected = trained("cnn", recipe, torch.bfloat16)
    trained("cnn", recipe, torch.bfloat16, Checkpoint(tmp_path, "0" * 64, pytest.fail), most=1)
    checkpoint = Checkpoint(tmp_path, "0" * 64, pytest.fail)
    assert len(checkpoint.epochs) >= 1
    assert_same_bits(trained("cnn", recipe, torch.bfloat16, checkpoint), expected)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_the_processor(params, name):
    """Within the rounding of float32, which TensorFloat-32 would exceed by far."""
    torch.manual_seed(0)
    model = build_model(name, recipe_of(params, name), INFO).eval()
    nn.init.normal_(next(each for each in reversed(list(model.parameters())) if each.dim() == 2), std=0.1)
    codes = torch.from_numpy(images(64))
    expected = predict_logits(model, [codes], 64)
    found = predict_logits(place(model, CUDA), [codes.to(CUDA)], 64).cpu()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_features_are_those_of_the_processor(params):
    """Of the pretrained model, with which its head is trained."""
    torch.manual_seed(0)
    model = build_model("pretrained", recipe_of(params, "pretrained", trained="head"), INFO)
    features = []
    for device in (torch.device("cpu"), CUDA):
        of_train, _ = feature_subsets(
            place(model, device), subset(40, device), subset(8, device), True, torch.float32, lambda _: None
        )
        assert of_train.images.device.type == device.type
        features.append(of_train.images.cpu())
    torch.testing.assert_close(features[1], features[0], rtol=0, atol=1e-4 * float(features[0].abs().max()))


@pytest.mark.parametrize(("name", "changes"), [("cnn", {}), ("resnet", {}), ("pretrained", {"image_size": 96})])
def test_heat_maps_are_those_of_the_processor(params, name, changes):
    """Up to rounding, and none is of one colour."""
    torch.manual_seed(0)
    model, classes = build_model(name, recipe_of(params, name, **changes), INFO).eval(), np.arange(8) % 10
    nn.init.normal_(next(each for each in reversed(list(model.parameters())) if each.dim() == 2), std=0.1)
    expected = heatmaps(model, images(8), classes)
    found = heatmaps(place(model, CUDA), images(8), classes)
    assert expected is not None
    assert found is not None
    assert (expected.std((1, 2)) > 0.01).any()
    assert float(np.abs(found - expected).mean()) < 0.01


def test_images_in_blocks_are_the_resident_ones(tmp_path, monkeypatch):
    """Read from their file in many groups, pinned and copied while the GPU computes: in order, and shuffled."""
    for name, images_each in (("BLOCK_BYTES", 4), ("GROUP_BYTES", 40), ("ORDER_BYTES", 40)):
        monkeypatch.setattr(f"src.blocks.{name}", images_each * math.prod(INFO.shape))
    codes, labels = images(300), np.arange(300)
    np.save(tmp_path / "images.npy", codes)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="c")
    stored = make_subset(mapped, labels, CUDA, stored=True)
    batches = list(stored.in_order(64))
    assert [len(each) for each, _ in batches] == [64, 64, 64, 64, 44]
    assert all(each.device.type == "cuda" for each, _ in batches)
    assert np.array_equal(torch.cat([each.cpu() for each, _ in batches]).numpy(), codes)
    assert torch.cat([each.cpu() for _, each in batches]).tolist() == labels.tolist()
    found = []
    for pixels, numbers in shuffled_batches(stored, 64, torch.Generator().manual_seed(0)):
        assert np.array_equal(pixels.cpu().numpy(), codes[numbers.cpu().numpy()])
        found += numbers.tolist()
    assert len(set(found)) == 256
    assert found != sorted(found)


def test_memory_that_runs_out_is_said_with_what_is_free_there():
    """Of the GPU, not of the machine."""
    with pytest.raises(torch.OutOfMemoryError) as error:
        torch.empty(1 << 46, dtype=torch.uint8, device=CUDA)
    line = describe_error(error.value)
    assert line is not None
    assert "is free on the accelerator; close other programs" in line


def test_features_that_do_not_fit_are_refused():
    """Before they are computed."""
    require_room_for_features(1 << 20, CUDA)
    with pytest.raises(MnistryError, match=r"of memory is free on cuda; try device: cpu"):
        require_room_for_features(1 << 46, CUDA)


@pytest.mark.parametrize("name", MODELS)
def test_stages_choose_the_gpu_and_write_the_same_bytes(tmp_path, monkeypatch, capsys, write_params, name):
    """By `auto`; the digits, trained and evaluated twice."""
    write_params(dataset="digits", model=name, **{f"models__{name}__epochs": 2})
    monkeypatch.chdir(tmp_path)
    raw, normalized = Path("raw"), Path("normalized")
    download.main(PROJECT / "data/sources/digits", raw)
    normalize.main(raw, normalized, Path("dataset.json"), Path("figures/dataset"))
    written = []
    for run in (Path("first"), Path("second")):
        run.mkdir()
        classifier, train_json, history, validation = (
            run / file for file in ("classifier.safetensors", "train.json", "history.csv", "validation.csv")
        )
        train.main(normalized, classifier, train_json, history, validation)
        assert " parameters on cuda" in capsys.readouterr().out
        evaluate.main(normalized, classifier, history, run / "metrics", run / "predictions.csv", run / "figures")
        assert f"{name} on cuda" in capsys.readouterr().out
        files = [path for path in run.rglob("*") if path.is_file() and path.suffix != ".png"]
        written.append({path.relative_to(run): path.read_bytes() for path in files})
    assert len(written[0]) > 6
    assert [str(path) for path, content in written[0].items() if written[1][path] != content] == []
