"""JAX, a call of a jitted step per batch."""

from functools import partial

import jax

from benchmarks.peers.protocol import read_session
from benchmarks.peers.systems.jax_network import arrays, classes, initial_state, step


def main() -> None:
    """Train and evaluate."""
    session = read_session()
    state, (*data, test) = initial_state(session.seed), arrays(session)
    with session.compiling():
        take_step = jax.jit(step, donate_argnums=0).lower(state, next(session.parts())[0], *data).compile()
        find_classes = jax.jit(classes).lower(state[0], test).compile()
    session.start()
    for part in session.parts():
        for batch in part:
            state = take_step(state, batch, *data)
        jax.block_until_ready(state)
        session.evaluate(partial(find_classes, state[0], test))


if __name__ == "__main__":
    main()
