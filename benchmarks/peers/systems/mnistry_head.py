"""Ours with photographs: a new head on the features of the pretrained network, by params.yaml's recipe."""

import torch

from benchmarks.few import Data
from benchmarks.peers.protocol import Evaluation, Session, read_session
from benchmarks.recipes import changed
from src.params import read_params
from src.runtime import prepare_process


def train(session: Session, trained: str) -> None:
    """Train and evaluate. trained: as in the recipe."""
    prepare_process()
    data = Data(session.folder, None, None, torch.device("cpu"))
    recipe = changed(read_params().models.pretrained, {"trained": trained, "epochs": session.epochs})
    session.start()
    accuracy = data.train("pretrained", recipe, session.seed)
    session.stop()
    print(Evaluation(session.seconds, 0, accuracy / 100).to_line())


if __name__ == "__main__":
    train(read_session(), "head")
