"""LightGBM: boosted trees over the pixels; an epoch is ten trees per class."""

from typing import Any

import lightgbm

from benchmarks.peers.protocol import read_session

TREES = 10


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    train, test = (images.reshape(len(images), -1) for images in (session.images, session.test_images))
    settings = {"objective": "multiclass", "num_class": 10, "max_bin": 63, "seed": session.seed, "verbosity": -1}

    def evaluate(environment: Any) -> None:
        if (environment.iteration + 1) % TREES == 0:
            session.evaluate(lambda: environment.model.predict(test).argmax(1))

    session.start()
    data = lightgbm.Dataset(train, session.labels, free_raw_data=True)
    lightgbm.train(settings, data, TREES * session.epochs, callbacks=[evaluate])


if __name__ == "__main__":
    main()
