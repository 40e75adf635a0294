"""fastai: a `Learner` and its `fit_one_cycle`."""

from functools import partial

import fastai.callback.schedule  # noqa: F401  # gives learners fit_one_cycle
import torch
from fastai.basics import Adam, Callback, CrossEntropyLossFlat, DataLoader, DataLoaders, Learner
from torch import Tensor

from benchmarks.peers.protocol import BATCH_SIZE, LEARNING_RATE, Session, read_session
from benchmarks.peers.systems.torch_network import classes, make_network, tensors


class Evaluations(Callback):  # type: ignore[misc]  # fastai is not in mypy's environment
    """Starts the clock, and evaluates within and after the epochs."""

    def __init__(self, session: Session, test: Tensor):
        super().__init__()
        self.session, self.test = session, test

    def before_fit(self) -> None:
        """Start the clock."""
        self.session.start()

    def after_batch(self) -> None:
        """Evaluate where it is due."""
        if self.session.is_due(self.iter + 1):
            self.session.evaluate(partial(classes, self.model, self.test))


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    torch.manual_seed(session.seed)
    images, test = tensors(session)
    loader = DataLoader(images, bs=BATCH_SIZE, shuffle=True, drop_last=True)
    learner = Learner(
        DataLoaders(loader, []), make_network(), loss_func=CrossEntropyLossFlat(), opt_func=Adam,
        cbs=[Evaluations(session, test)],
    )  # fmt: skip
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(session.epochs, LEARNING_RATE)


if __name__ == "__main__":
    main()
