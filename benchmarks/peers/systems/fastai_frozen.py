"""fastai's own way with photographs where the body stays frozen: a `vision_learner` and its `fit_one_cycle`."""

from benchmarks.peers.protocol import read_session
from benchmarks.peers.systems.fastai_photographs import train

if __name__ == "__main__":
    train(read_session(), frozen=True)
