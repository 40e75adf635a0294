"""Keras 3 on JAX, by `Model.fit` without shuffling: the batches come shuffled."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.peers.protocol import BATCH_SIZE, CHANNELS, one_cycle, read_session, standardize


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # keras has no types here
    """The learning rate of each step, looked up."""

    def __init__(self, rates: np.ndarray):
        self.rates = ops.convert_to_tensor(rates)

    def __call__(self, step: Any) -> Any:
        """The rate of the step. It is asked for once more than there are steps."""
        return ops.take(self.rates, ops.minimum(ops.cast(step, "int32"), len(self.rates) - 1))


def make_model(rates: np.ndarray) -> Any:
    """The network, compiled with Adam."""
    blocks = [
        layer
        for channels in CHANNELS
        for layer in (layers.Conv2D(channels, 3, padding="same"), layers.MaxPooling2D(2), layers.ReLU())
    ]
    model = keras.Sequential([layers.Input((28, 28, 1)), *blocks, layers.Flatten(), layers.Dense(10)])
    model.compile(keras.optimizers.Adam(OneCycle(rates)), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    keras.utils.set_random_seed(session.seed)
    train, test = (images[..., None] for images in standardize(session))
    model = make_model(one_cycle(session.steps * session.epochs))

    def fit(part: np.ndarray) -> None:
        batches = part.ravel()
        model.fit(train[batches], session.labels[batches], batch_size=BATCH_SIZE, shuffle=False, verbose=0)

    def classes() -> np.ndarray:
        found: np.ndarray = model.predict(test, batch_size=200, verbose=0).argmax(1)
        return found

    with session.compiling():
        # It compiles at the first batch, so a batch is trained on before, and undone.
        model.optimizer.build(model.trainable_variables)
        weights, state = model.get_weights(), [variable.numpy() for variable in model.optimizer.variables]
        fit(next(session.parts())[:1])
        classes()
        model.set_weights(weights)
        for variable, value in zip(model.optimizer.variables, state, strict=True):
            variable.assign(value)
    session.start()
    for part in session.parts():
        fit(part)
        session.evaluate(classes)


if __name__ == "__main__":
    main()
