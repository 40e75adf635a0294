"""The params of params.yaml, typed: their choices and ranges."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from src.errors import suggest
from src.explanations import AlsoTakes, Expected, in_quotes, unquoted
from src.yaml_files import Number, Section, Tuple, read_yaml

AUTO = "auto"
"""What suits the dataset, by src/recipes.py."""


def is_auto(value: Any) -> bool:
    """Whether the value is left to the dataset."""
    return bool(value == AUTO)


@dataclass(frozen=True)
class OrAuto(AlsoTakes):
    """Marks a value that may be written as `auto`, whatever its type: no recipe is trained before it is completed."""

    word: str = AUTO

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The value's own schema but for `auto`."""
        return core_schema.no_info_wrap_validator_function(
            lambda value, validate: AUTO if is_auto(value) else validate(value),
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value),
        )


Count = Annotated[int, Field(ge=1, le=10**9)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
NonNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Sizes = Annotated[tuple[Count, ...], Tuple]
MOST_PROCESSES = 1024
"""Per host. More is a mistake."""
SAME_FOR_DVC = re.compile(r"0|[1-9]\d*|true|false|(?i:yes|no|on|off)", re.ASCII)
"""What PyYAML reads as a number or as true or false, but DVC puts into the stages' commands as it is written."""
NUMBER_FOR_DVC = re.compile(r"0o[\d_]+|\d[\d_]*\.?[\d_]*(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
"""What DVC reads as a number, by YAML 1.2: 1e3 becomes 1000.0 in the commands, where PyYAML leaves it alone."""


class Normalize(Section):
    """How pixels become the networks' inputs."""

    method: Literal["standard", "half", "unit"]


def _more_than_one(folds: int) -> int:
    if folds == 1:
        raise ValueError("one fold would leave no images to train on; expected 0 (none), or 2 and more")
    return folds


def _one_of_the_folds(fold: int, info: ValidationInfo) -> int:
    folds = info.data.get("folds")
    if folds == 0 and fold:
        raise ValueError("train.folds is 0, so there are no folds; expected 0, or train.folds above it")
    if folds and fold >= folds:
        raise ValueError(f"train.folds is {folds}; expected 0 to {folds - 1}")
    return fold


def _auto_or_count(value: Any) -> Any:
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_PROCESSES):
        raise ValueError(f"expected auto, or an integer from 1 to {MOST_PROCESSES}")
    return value


class Train(Section):
    """What training is like for every model."""

    validation_fraction: Fraction
    folds: Annotated[int, Field(ge=0, le=10**9), AfterValidator(_more_than_one)]
    fold: Annotated[int, Field(ge=0), AfterValidator(_one_of_the_folds)]
    class_weights: Literal["none", "balanced"]
    keep: Literal["last", "best"]
    precision: Literal["auto", "float32", "bfloat16"]
    processes: Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_count)]


class Evaluate(Section):
    """How the test split is run through the classifier."""

    batch_size: Count


class Augment(Section):
    """How training images are changed at random."""

    shift: Annotated[Fraction, OrAuto()]
    cutout: Annotated[Fraction, OrAuto()]
    flip: Annotated[bool, OrAuto()]
    rotation: Annotated[Number, Field(ge=0, le=180), OrAuto()]


class Figures(Section):
    """What the figures show."""

    samples: Count
    test_images: Count
    seed: Annotated[int, Field(ge=0, lt=2**63)]


class Recipe(Section):
    """How a model is trained."""

    epochs: Annotated[Count, OrAuto()]
    batch_size: Count
    optimizer: Annotated[Literal["sgd", "adam", "adamw", "muon"], OrAuto()]
    learning_rate: Annotated[Positive, OrAuto()]
    momentum: Fraction
    weight_decay: NonNegative
    schedule: Literal["constant", "one_cycle"]
    label_smoothing: Annotated[Fraction, OrAuto()]
    augment: Augment
    flip_at_inference: Annotated[bool, OrAuto()]


class Linear(Recipe):
    """Softmax regression."""


class MLP(Recipe):
    """Linear layers with leaky rectifiers between them."""

    hidden_sizes: Annotated[Sizes, OrAuto()]
    negative_slope: NonNegative


class CNN(Recipe):
    """Blocks of convolution, rectifier and 2x2 max-pooling, then a linear layer."""

    channels: Annotated[tuple[Count, ...], Tuple, Field(min_length=1), OrAuto()]
    kernel_size: Count


class ResNet(Recipe):
    """Residual blocks between a convolution and a linear layer."""

    channels: Annotated[tuple[Count, ...], Tuple, Field(min_length=1)]
    blocks: Count


def _can_augment(trained: str, info: ValidationInfo) -> str:
    augment = info.data.get("augment")
    others = augment.model_dump(exclude={"flip"}).values() if augment else ()
    if trained == "head" and any(value and not is_auto(value) for value in others):
        raise ValueError("its features are computed once, so augment can only flip; expected all, or 0 for the others")
    return trained


class Pretrained(Recipe):
    """A backbone that was trained on other images, and a new head."""

    batch_size: Annotated[Count, OrAuto()]
    weight_decay: Annotated[NonNegative, OrAuto()]
    backbone: Annotated[str, Field(pattern=r"^[a-z0-9_.]+$"), Expected("the name of one of timm's image models")]
    trained: Annotated[Literal["head", "all"], AfterValidator(_can_augment)]
    image_size: Annotated[int, Field(ge=32, le=4096), OrAuto()]
    backbone_rate: Annotated[Number, Field(gt=0, le=1)]
    weights: Annotated[str, Field(pattern=r"^(any|[0-9a-f]{64})$"), Expected("any, or a SHA-256 in hexadecimal")]


class Models(Section):
    """A recipe for each model."""

    linear: Linear
    mlp: MLP
    cnn: CNN
    resnet: ResNet
    pretrained: Pretrained


MODELS = tuple(Models.model_fields)
"""The models' names, each that of a module of src/models/ and of a section of params.yaml's `models`."""


def make_recipe(model: str, content: Any) -> Recipe:
    """The recipe of the model `model` with the values in `content`; raises ValueError where it can't be trained by."""
    kind: type[Recipe] = Models.__annotations__[model]
    recipe = kind.model_validate(content)
    for name, value in (*recipe, *recipe.augment):
        if is_auto(value):
            raise ValueError(f"{name} is {AUTO}")
    return recipe


def _model_name(name: Any) -> Any:
    if name not in MODELS:
        raise ValueError(suggest(name if isinstance(name, str) else "", list(MODELS)))
    return name


def _folder_name(name: str) -> str:
    # It becomes part of the stages' command lines, where a shell would split or read it. Marks above and below letters,
    # as Hindi and Thai have them, are not among \w.
    if not re.fullmatch(r"(?![.+-])([\w.+-]|[^\x00-\x7f\s])+", name):
        raise ValueError("expected a folder's name of letters, digits, ., _, + and -")
    return name


def _as_dvc_reads_it(name: Any, info: ValidationInfo) -> Any:
    """The dataset's name that DVC puts into the stages' commands; ValueError where it is not what is written.

    Quotes can't be asked for everywhere: DVC drops those around `no` whenever it writes params.yaml.
    """
    written = unquoted(info.context, "dataset")
    if written is None:
        return name
    _folder_name(written)
    if SAME_FOR_DVC.fullmatch(written):
        return written
    if not isinstance(name, str) or NUMBER_FOR_DVC.fullmatch(written):
        raise ValueError(in_quotes(written, 0 if isinstance(name, str) else name, "dataset"))
    return name


class Params(Section):
    """All of params.yaml."""

    dataset: Annotated[str, BeforeValidator(_as_dvc_reads_it), AfterValidator(_folder_name)]
    model: Annotated[str, BeforeValidator(_model_name)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Annotated[str, Field(pattern=r"^[a-z]+(:\d+)?$"), Expected("auto or a device such as cpu, cuda or cuda:1")]
    normalize: Normalize
    train: Train
    evaluate: Evaluate
    figures: Figures
    models: Models

    @property
    def recipe(self) -> Recipe:
        """The chosen model's own params."""
        recipe: Recipe = getattr(self.models, self.model)
        return recipe


def read_params(path: Path = Path("params.yaml")) -> Params:
    """The params in `path`, all of them checked; raises MnistryError."""
    return read_yaml(path, Params)
