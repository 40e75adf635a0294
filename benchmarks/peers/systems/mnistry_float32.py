"""Ours in float32, as the other systems compute."""

from benchmarks.peers.protocol import read_session
from benchmarks.peers.systems.mnistry import train

if __name__ == "__main__":
    train(read_session(), "float32")
