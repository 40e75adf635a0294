"""Other systems on the same data, side by side with ours: `python -m benchmarks.peers`.

Each is a short script in `systems/`, a process in an environment of its own whose lock is in `requirements/`. What it
and the driver say to each other is in `protocol.py`.
"""
