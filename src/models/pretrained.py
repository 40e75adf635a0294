"""A backbone that was trained on other images, by timm, with a new head.

The default, EfficientNet-Lite0: M. Tan and Q. Le, https://arxiv.org/abs/1905.11946, without what small devices are slow
at. The head sees the maps of the last two stages, averaged, next to the backbone's own features, and those of the last
one in each quarter of the image, too.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from src.errors import MnistryError
from src.explanations import shorten
from src.normalization import Normalization
from src.params import Pretrained
from src.resources import in_words

LEAST = 32
"""Pixels of a side: the backbones halve it five times."""
CHUNK = 16
"""Images at a time where no gradients are wanted; more leave the processor's caches and take up to 1.6 times longer."""
MOST_TABLES = 1 << 30
"""Bytes of what is in no classifier's file, so that one of a few bytes can't ask for more."""
FOLDED = "tf_efficientnet_lite"
"""Begins the names of the models in which a batch normalization directly follows each convolution."""


class Standardize(nn.Module):
    """Features with mean 0 and standard deviation 1 over the training images, as `fit` has found them."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def forward(self, features: Tensor) -> Tensor:
        """Shape (N, F) to the same shape."""
        return (features - self.mean) * self.scale


class Network(nn.Module):
    """Enlarges images, normalizes them as the backbone wants them, and puts a linear layer on its features."""

    scale: Tensor
    offset: Tensor
    backbone: Any

    def __init__(self, name: str, image_size: int, shape: tuple[int, int, int], num_classes: int):
        super().__init__()
        self.name = name
        self.size = input_size(name, image_size, shape[1:])
        config = timm.get_pretrained_cfg(name)
        # Until `undo`, images are taken for pixels in [0, 1].
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (config.mean, config.std))
        self.register_buffer("scale", 1 / std)
        self.register_buffer("offset", -mean / std)
        with refusing(name, self.size), torch.device("meta"), torch.no_grad():
            self.backbone = build_backbone(name, self.size)
            refuse_what_files_cannot_hold(self.backbone)
            features = self._pooled(torch.zeros(1, 3, *self.size)).shape[1]
        if not self.scale.is_meta:
            self.backbone = build_backbone(name, self.size)
        head = nn.Linear(features, num_classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.head = nn.Sequential(Standardize(features), head)

    def undo(self, normalization: Normalization) -> None:
        """Take images that were normalized so, rather than pixels in [0, 1]."""
        scale, offset = (torch.tensor(getattr(normalization, name))[:, None, None] for name in ("scale", "offset"))
        # A pixel is (image - offset) / (255 * scale).
        self.offset = self.offset - self.scale * offset / (255 * scale)
        self.scale = self.scale / (255 * scale)

    @property
    def maps_layer(self) -> str | None:
        """The last stage, by its name in the network: heat maps are of its maps. None where it isn't one module."""
        name = f"backbone.{self.backbone.feature_info[-1]['module']}"
        return name if name in dict(self.named_modules()) else None

    @property
    def maps_channels(self) -> int:
        """How many channels that stage's maps have, first or last."""
        return int(self.backbone.feature_info[-1]["num_chs"])

    @property
    def hub_id(self) -> str | None:
        """Where timm's hub has the backbone's weights, or None."""
        found: str | None = timm.get_pretrained_cfg(self.name).hf_hub_id
        return found

    def load(self, weights: Mapping[str, Tensor], in_order: bool, source: str) -> None:
        """Give the backbone its pretrained weights, by timm's names; raises MnistryError where they are others.

        in_order: they have other names, and timm's order. source: where they are from, for the error.
        """
        refused = f"models.pretrained.backbone: {source} does not hold the weights of {self.name}: "
        if not weights:
            # timm would take its hub's instead.
            raise MnistryError(f"{refused}it is empty")
        if in_order:
            weights = dict(zip(timm.create_model(self.name).state_dict(), weights.values(), strict=True))
        fixed = {"img_size": self.size} if timm.get_pretrained_cfg(self.name).fixed_input_size else {}
        given = {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": weights}}
        try:
            # With its own classes: without them, timm would leave out whatever doesn't fit, and say nothing.
            backbone = timm.create_model(self.name, **given, **fixed)
        except Exception as error:
            with torch.device("meta"):
                expected = timm.create_model(self.name).state_dict()
            # The error itself, of any kind, names each of the hundreds of tensors that are missing.
            reason = _difference(weights, expected) or shorten(" ".join(str(error).split()))
            raise MnistryError(refused + reason) from None
        backbone.reset_classifier(0)
        self.backbone.load_state_dict(folded(backbone.eval(), self.name).state_dict())

    def train(self, mode: bool = True) -> "Network":
        """The backbone's batch statistics stay as they came, and it drops nothing."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images of shape (N, C, H, W) to logits (N, K)."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Normalized images of shape (N, C, H, W) to the features that the head gets, (N, F)."""
        if torch.is_grad_enabled() or images.device.type != "cpu" or torch.compiler.is_exporting():
            return self._pooled(self._enlarged(images))
        return torch.cat([self._pooled(self._enlarged(chunk)) for chunk in images.split(CHUNK)])

    def _enlarged(self, images: Tensor) -> Tensor:
        if images.shape[2:] != self.size:
            images = F.interpolate(images, self.size, mode="bicubic")
        return images * self.scale + self.offset

    def _pooled(self, images: Tensor) -> Tensor:
        final, maps = self.backbone.forward_intermediates(images, indices=2)
        # Some backbones' last maps are their last stage's.
        pooled = [each.mean((2, 3)) for each in maps if each is not final]
        return torch.cat([*pooled, _quarters(maps[-1]), self.backbone.forward_head(final, pre_logits=True)], 1)


def _quarters(maps: Tensor) -> Tensor:
    """Maps of shape (N, C, H, W) to their means in each quarter of the image, (N, 4 C); a middle row is in both halves.

    What `adaptive_avg_pool2d` computes; that has no deterministic gradient on CUDA.
    """
    rows, columns = ((slice((size + 1) // 2), slice(size // 2, None)) for size in maps.shape[2:])
    return torch.stack([maps[:, :, i, j].mean((2, 3)) for i in rows for j in columns], 2).flatten(1)


def build(recipe: Pretrained, shape: tuple[int, int, int], num_classes: int) -> Network:
    """The backbone without its weights, and a head that finds all classes equally likely."""
    network = Network(recipe.backbone, recipe.image_size, shape, num_classes)
    if recipe.trained == "head":
        network.backbone.requires_grad_(False)
    return network


def _difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    for name, tensor in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name].shape != tensor.shape:
            return f"{name} has the shape {tuple(found[name].shape)}; expected {tuple(tensor.shape)}"
    return None


def build_backbone(name: str, size: tuple[int, int]) -> Any:
    """The model of timm without weights and classes, for images of that height and width; raises MnistryError."""
    options = {"img_size": size} if timm.get_pretrained_cfg(name).fixed_input_size else {}
    backbone = timm.create_model(name, num_classes=0, **options)
    if not hasattr(backbone, "forward_intermediates"):
        raise MnistryError(f"models.pretrained.backbone: {name} doesn't give its maps; expected another one")
    return folded(backbone.eval(), name)


def _is_known(name: str) -> bool:
    try:
        return bool(timm.is_model(name)) and timm.get_pretrained_cfg(name) is not None
    except RuntimeError:
        # A known model after a point of which there is an unknown name of weights.
        return False


def refuse_what_files_cannot_hold(backbone: nn.Module) -> None:
    """Raises MnistryError for layers that share weights, and for large tables that are made anew with each model."""
    if len(list(backbone.parameters())) < len(list(backbone.named_parameters(remove_duplicate=False))):
        raise MnistryError("models.pretrained.backbone: its layers share weights; expected another one")
    saved = backbone.state_dict()
    tables = sum(buffer.nbytes for name, buffer in backbone.named_buffers() if name not in saved)
    if tables > MOST_TABLES:
        raise MnistryError(
            f"models.pretrained.image_size: takes {in_words(tables)} for tables of positions; expected a smaller one"
        )


@contextmanager
def refusing(name: str, size: tuple[int, int]) -> Iterator[None]:
    """Raises MnistryError for whatever a model of timm raises in the block, built for images of that size."""
    try:
        yield
    except MnistryError:
        raise
    except Exception as error:
        # Each model says it in its own way, some by an AssertionError without words.
        reason = shorten(" ".join(str(error).split())) or type(error).__name__
        raise MnistryError(
            f"models.pretrained.backbone: {name} can't be used on images of {size[0]}x{size[1]} ({reason}); expected "
            "another one, or another image_size"
        ) from None


def input_size(name: str, image_size: int, sides: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the images that the model of timm is given, of images with those sides.

    A model that is built for one size, as vision transformers are, is given squares, whose sides are multiples of what
    it reduces them by: it would leave out the rest. Raises MnistryError where timm has no such model.
    """
    if not _is_known(name):
        near = get_close_matches(name, timm.list_models(), n=3, cutoff=0.5) or ["tf_efficientnet_lite0"]
        raise MnistryError(
            f"models.pretrained.backbone: timm has no image model {name!r}; expected one such as {', '.join(near)}"
        )
    size = enlarged(sides, image_size)
    if not timm.get_pretrained_cfg(name).fixed_input_size:
        return size
    with refusing(name, size), torch.device("meta"):
        stages = getattr(timm.create_model(name, num_classes=0), "feature_info", [])
    factor = max([stage["reduction"] for stage in stages], default=1)
    side = -(-max(size) // factor) * factor
    return side, side


def enlarged(sides: tuple[int, int], image_size: int) -> tuple[int, int]:
    """Height and width to enlarge images to, in their proportions: the longer side to `image_size`, if shorter."""
    factor = max(image_size / max(sides), 1)
    height, width = (max(round(side * factor), LEAST) for side in sides)
    return height, width


def folded(backbone: Any, name: str) -> Any:
    """The backbone with each batch normalization put into the convolution in front of it, where all of them can be.

    With its statistics frozen, that computes the same, in 0.6 times the time and, in training, 0.7 times.
    """
    if not name.startswith(FOLDED):
        return backbone
    for convolution, normalize in list(_pairs(backbone)):
        layer: Any = backbone.get_submodule(normalize)
        backbone.set_submodule(convolution, fuse_conv_bn_eval(backbone.get_submodule(convolution), layer))
        backbone.set_submodule(normalize, layer.act)
    return backbone


def _pairs(backbone: nn.Module) -> Iterator[tuple[str, str]]:
    last = ""
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv2d):
            last = name
        elif isinstance(module, nn.BatchNorm2d):
            yield last, name
