"""JAX, all steps between two evaluations in one `lax.scan`.

On CPUs, XLA compiles the convolutions of a loop to slow code: a step takes ten times that of `jax_step` (docs/log.md).
"""

from functools import partial

import jax

from benchmarks.peers.protocol import read_session
from benchmarks.peers.systems.jax_network import arrays, classes, initial_state, steps


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    state, (*data, test) = initial_state(session.seed), arrays(session)
    with session.compiling():
        take_steps = jax.jit(steps, donate_argnums=0).lower(state, next(session.parts()), *data).compile()
        find_classes = jax.jit(classes).lower(state[0], test).compile()
    session.start()
    for part in session.parts():
        state = jax.block_until_ready(take_steps(state, part, *data))
        session.evaluate(partial(find_classes, state[0], test))


if __name__ == "__main__":
    main()
