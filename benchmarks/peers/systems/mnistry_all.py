"""Ours with photographs: from that head, the whole network."""

from benchmarks.peers.protocol import read_session
from benchmarks.peers.systems.mnistry_head import train

if __name__ == "__main__":
    train(read_session(), "all")
