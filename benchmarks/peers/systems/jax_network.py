"""The network, its loss and Adam in JAX, without further libraries: what both ways to run them share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks.peers.protocol import CHANNELS, Session, one_cycle, standardize

Weights = list[tuple[Array, Array]]
State = tuple[Weights, Any, Any, Array]
"""Weights, Adam's two averages of the gradients, and the number of steps taken."""


def initial_state(seed: int) -> State:
    """He-uniform weights, as torch's layers draw them."""
    generator, shapes, inputs = np.random.default_rng(seed), [], 1
    for outputs in CHANNELS:
        shapes.append((3, 3, inputs, outputs))
        inputs = outputs
    weights = []
    for shape in [*shapes, (3 * 3 * inputs, 10)]:
        bound = np.prod(shape[:-1]) ** -0.5
        weight, bias = (generator.uniform(-bound, bound, size) for size in (shape, shape[-1:]))
        weights.append((jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32)))
    means, squares = (jax.tree.map(jnp.zeros_like, weights) for _ in range(2))
    return weights, means, squares, jnp.zeros((), jnp.int32)


def logits(weights: Weights, images: Array) -> Array:
    """images: float32, shape (N, 28, 28)."""
    maps = images[..., None]
    for weight, bias in weights[:-1]:
        maps = lax.conv_general_dilated(maps, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias
        maps = jax.nn.relu(lax.reduce_window(maps, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"))
    weight, bias = weights[-1]
    return maps.reshape(len(maps), -1) @ weight + bias


def loss(weights: Weights, images: Array, labels: Array) -> Array:
    """Mean cross-entropy."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(weights, images)), labels[:, None], 1).mean()


def step(state: State, batch: Array, images: Array, labels: Array, rates: Array) -> State:
    """Adam's step on the images at the indices in `batch`. rates: the learning rate of every step."""
    weights, means, squares, count = state
    gradients = jax.grad(loss)(weights, images[batch], labels[batch])
    means = jax.tree.map(lambda mean, gradient: 0.9 * mean + 0.1 * gradient, means, gradients)
    squares = jax.tree.map(lambda square, gradient: 0.999 * square + 0.001 * gradient**2, squares, gradients)
    taken = count + 1
    rate = rates[count] * jnp.sqrt(1 - 0.999**taken) / (1 - 0.9**taken)
    weights = jax.tree.map(
        lambda weight, mean, square: weight - rate * mean / (jnp.sqrt(square) + 1e-8), weights, means, squares
    )
    return weights, means, squares, taken


def steps(state: State, part: Array, images: Array, labels: Array, rates: Array) -> State:
    """A step per batch, all in one loop of the compiled program. part: indices, shape (steps, batch size)."""
    last: State = lax.scan(lambda state, batch: (step(state, batch, images, labels, rates), None), state, part)[0]
    return last


def arrays(session: Session) -> tuple[Array, Array, Array, Array]:
    """Training images, labels, the learning rate of every step, and test images."""
    train, test = standardize(session)
    rates = one_cycle(session.steps * session.epochs)
    return jnp.asarray(train), jnp.asarray(session.labels), jnp.asarray(rates), jnp.asarray(test)


def classes(weights: Weights, images: Array) -> Array:
    """The most probable class of each image, in batches of 200."""
    batches = images.reshape(-1, 200, *images.shape[1:])
    return lax.map(lambda batch: logits(weights, batch).argmax(1), batches).ravel()
