"""Other systems next to ours: `python -m benchmarks.peers`, and `python -m benchmarks.peers.photographs`.

Each is a short script in `systems/`, a process in an environment of its own whose lock is in `requirements/`. What it
and the driver say to each other is in `protocol.py`.
"""
