"""Lightning: a module and a `Trainer` without logging and checkpoints."""

from functools import partial
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.protocol import LEARNING_RATE, Session, read_session
from benchmarks.peers.systems.torch_network import classes, make_loader, make_network, tensors


class Classifier(lightning.LightningModule):  # type: ignore[misc]  # lightning is not in mypy's environment
    """The network with its loss and optimizer."""

    def __init__(self, steps: int):
        super().__init__()
        self.network, self.steps = make_network(), steps

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam, its rate in one cycle."""
        optimizer = torch.optim.Adam(self.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Evaluations(lightning.Callback):  # type: ignore[misc]
    """Starts the clock, and evaluates within and after the epochs."""

    def __init__(self, session: Session, test: Tensor):
        self.session, self.test = session, test

    def on_train_start(self, *_: Any) -> None:
        """Start the clock."""
        self.session.start()

    def on_train_batch_end(self, _: Any, module: Any, __: Any, ___: Any, index: int) -> None:
        """Evaluate where it is due."""
        if self.session.is_due(index + 1):
            self.session.evaluate(partial(classes, module.network, self.test))


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    lightning.seed_everything(session.seed, verbose=False)
    images, test = tensors(session)
    trainer = lightning.Trainer(
        accelerator="cpu", max_epochs=session.epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[Evaluations(session, test)],
    )  # fmt: skip
    trainer.fit(Classifier(session.steps * session.epochs), make_loader(images))


if __name__ == "__main__":
    main()
