"""scikit-learn's MLPClassifier, 512 hidden units, by `partial_fit`."""

from functools import partial

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.peers.protocol import BATCH_SIZE, read_session


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    train, test = (
        (images.reshape(len(images), -1) / np.float32(255)) for images in (session.images, session.test_images)
    )
    model = MLPClassifier((512,), batch_size=BATCH_SIZE, random_state=session.seed)
    session.start()
    for part in session.parts():
        batches = part.ravel()
        model.partial_fit(train[batches], session.labels[batches], classes=np.arange(10))
        session.evaluate(partial(model.predict, test))


if __name__ == "__main__":
    main()
