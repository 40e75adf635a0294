"""One module per system, run by the driver as `python -m benchmarks.peers.systems.<name>` in its environment."""
