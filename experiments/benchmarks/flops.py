"""Counts a model's FLOPs from its products, and measures this machine's peak.

A multiply-add is two FLOPs; only convolutions and matrix products count. Taps in the padding do not count,
as in XLA's own count. XLA counts the model with JAX's stock operations: in ours for CPUs it counts a loop's
body once, however often it runs.
"""

import math
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import Pair
from vprjax import models

AGREE = 0.1  # relative difference of our count and XLA's
CPU, DEVICE = 2048, 16_384  # rows of the square matrices that measure the peak
STREAMED = 1 << 28  # bytes of the array that measures bandwidth, beyond any cache


def peaks(dtype: str) -> float:
    """The peak of a matrix product in FLOP/s, best of five; prints it and the memory's bandwidth."""
    n = CPU if jax.default_backend() == "cpu" else DEVICE
    square = jax.random.normal(jax.random.key(0), (n, n), dtype)  # a GPU multiplies ones faster
    product = 2 * n**3 / _best(jax.jit(jnp.dot), square, square)
    # One read and one write in place touch no new page.
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    stream = jnp.zeros(STREAMED // 4, jnp.float32)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        stream = jax.block_until_ready(add(stream))
        seconds.append(time.perf_counter() - start)
    moved = 2 * STREAMED / min(seconds)
    print(f"peak here: {product / 1e9:.1f} GFLOP/s in {dtype} products, {moved / 1e9:.1f} GB/s")
    return product


def _best(function, *args) -> float:
    jax.block_until_ready(function(*args))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def share(flops: float, seconds: list[float], peak: float) -> dict[str, float]:
    """The columns that compare a median time with the peak."""
    reached = flops / statistics.median(seconds)
    return {"share_of_peak": round(reached / peak, 3), "peak_gflops": round(peak / 1e9, 1)}


def of_extraction(pair: Pair) -> float:
    """FLOPs of one forward pass over the pair's images, checked against XLA's count."""
    apply = models.build(pair.config.model).apply
    found = sum(products(apply, pair.variables, pair.images))
    agree("forward", found, _by_xla(apply, pair.variables, pair.images))
    return found


def of_step(pair: Pair) -> float:
    """FLOPs of one training step of all parameters, checked against XLA's count.

    Every product comes back twice, for the gradients of its two factors; the first one's input needs none.
    """
    module = models.build(pair.config.model)
    forward = products(module.apply, pair.variables, pair.images)
    found = 3 * sum(forward) - forward[0]

    def loss(params, rest, images):
        return module.apply({"params": params, **rest}, images).sum()

    rest = {name: tree for name, tree in pair.variables.items() if name != "params"}
    agree("step", found, _by_xla(jax.grad(loss), pair.variables["params"], rest, pair.images))
    return found


def _by_xla(function, *args) -> float | None:
    """XLA's count, or None on a GPU, where XLA has none before compilation."""
    cost = jax.jit(function).lower(*args).cost_analysis()
    return None if cost is None else float(cost["flops"])


def agree(what: str, ours: float, xla: float | None) -> None:
    """Prints both counts and their ratio, with a warning where they differ by more than `AGREE`."""
    if xla is None:
        print(f"{what}: {ours / 1e9:.2f} GFLOP in the model, not checked: XLA does not count here")
        return
    ratio = ours / xla
    words = (
        f"{what}: {ours / 1e9:.2f} GFLOP in the model, {xla / 1e9:.2f} by XLA, ratio {ratio:.3f}"
    )
    print(words if abs(ratio - 1) <= AGREE else f"WARNING {words}", flush=True)


def products(function, *args) -> list[float]:
    """FLOPs of every convolution and matrix product of `function(*args)`, in order."""
    return _of_jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def _of_jaxpr(jaxpr) -> list[float]:
    found: list[float] = []
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name == "dot_general":
            found.append(_of_dot(equation))
        elif name == "conv_general_dilated":
            found.append(_of_convolution(equation))
        else:
            for inner in jax.tree.leaves(list(equation.params.values())):
                inner = getattr(inner, "jaxpr", inner)
                found += _of_jaxpr(inner) if hasattr(inner, "eqns") else []
    return found


def _of_dot(equation) -> float:
    lhs, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    (contracted, _), _ = equation.params["dimension_numbers"]
    return 2.0 * math.prod(out) * math.prod(lhs[axis] for axis in contracted)


def _of_convolution(equation) -> float:
    """`2 b o c / groups` times the pairs of an output and a tap inside the image, along every axis."""
    p, (x, kernel) = equation.params, (v.aval.shape for v in equation.invars)
    if {*p["lhs_dilation"], *p["rhs_dilation"]} != {1}:
        raise ValueError("a dilated convolution is not counted")
    out, d = equation.outvars[0].aval.shape, p["dimension_numbers"]
    pairs = 1
    for axis, stride, (low, _) in zip(range(2), p["window_strides"], p["padding"], strict=True):
        size, taps = x[d.lhs_spec[2 + axis]], kernel[d.rhs_spec[2 + axis]]
        first = np.arange(out[d.out_spec[2 + axis]]) * stride - low
        at = first[:, None] + np.arange(taps)
        pairs *= int(((at >= 0) & (at < size)).sum())
    return 2.0 * out[d.out_spec[0]] * out[d.out_spec[1]] * kernel[d.rhs_spec[1]] * pairs
