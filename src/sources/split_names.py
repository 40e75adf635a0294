"""Which split a name means: of a folder, a CSV file, an archive or a cell."""

import re

from src.sources.base import SplitName

WORDS: dict[str, SplitName] = {
    "train": "train", "training": "train", "trainset": "train", "trn": "train",
    "val": "validation", "valid": "validation", "validate": "validation", "validation": "validation",
    "valset": "validation", "dev": "validation",
    "test": "test", "testing": "test", "testset": "test", "tst": "test",
    "훈련": "train", "학습": "train", "검증": "validation", "테스트": "test", "시험": "test",
    "訓練": "train", "学習": "train", "検証": "validation", "テスト": "test",
    "训练": "train", "训练集": "train", "验证": "validation", "验证集": "validation", "测试": "test", "测试集": "test",
    "entrenamiento": "train", "entrainement": "train", "entraînement": "train", "prueba": "test",
}  # fmt: skip
UNLABELLED = {"pred", "predict", "prediction", "predictions", "unlabeled", "unlabelled", "unknown"}
"""Words in the names of folders whose images have no labels."""
WHATEVER = {
    "image", "images", "img", "imgs", "data", "dataset", "all", "picture", "pictures", "photo", "photos", "set",
    "part", "batch", "fold", "chunk", "mask", "masks", "label", "labels", "annotation", "annotations", "gt", "ground",
    "truth", "groundtruth", "jpeg", "jpg", "png", "input", "inputs", "target", "targets", "eval", "evaluation",
    "holdout",
}  # fmt: skip
"""Words that say nothing about a folder's images."""


def words_of(name: str) -> list[str]:
    """The words of a name, in small letters: `train` and `images` of train_images, TrainImages and train-images2."""
    return re.findall(r"[^\W\d_]+", re.sub("([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", name).lower())


def split_of(name: str) -> SplitName | None:
    """The split that exactly one of the name's words means, with whatever is before and after that word."""
    found = {WORDS[word] for word in words_of(name) if word in WORDS}
    return found.pop() if len(found) == 1 else None


def is_unlabelled(name: str) -> bool:
    """Whether the name says that what it contains has no labels."""
    return bool(UNLABELLED & set(words_of(name)))


def says_no_class(name: str) -> bool:
    """Whether the name can't be that of a class: `images`, `test`, `unknown`, `part2`, `SegmentationClass`."""
    words = words_of(name)
    nothing = all(word in WORDS or word in UNLABELLED or word in WHATEVER for word in words)
    return bool(words) and (nothing or "segmentation" in words)
