"""The non-finite guard: a record inside the step, and the host's reading of it."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vprjax import optim
from vprjax.errors import TrainingError
from vprjax.runtime import parallel

NO_TRAP = (-1, -1)
# The guard numbers these tensors first, then every gradient by its path.
TRAPPED = ("descriptors", "loss")


def first_bad(trees: Sequence[Any]) -> jax.Array:
    """Returns the number of the first tensor in `trees` that holds NaN or infinity, or -1."""
    bad = jnp.stack([~jnp.isfinite(x).all() for x in jax.tree.leaves(trees)])
    return jnp.where(bad.any(), jnp.argmax(bad), -1).astype(jnp.int32)


def sprung(trap: jax.Array, step: jax.Array, bad: jax.Array) -> jax.Array:
    """Returns the guard's record `(2,)` int32, (step, tensor), which keeps the first finding."""
    found = jnp.where(bad >= 0, jnp.stack([step, bad]), jnp.array(NO_TRAP, jnp.int32))
    return jnp.where(trap[0] >= 0, trap, found)


class NotFinite(Exception):
    """The guard's finding: the tensor `name` is not finite at `step`."""

    def __init__(self, step: int, name: str):
        """Keeps the step and the tensor's name."""
        super().__init__(f"{name} not finite at step {step}")
        self.step, self.name = step, name


def check_trap(state) -> None:
    """Raises NotFinite if the guard has found a NaN or infinity in a step so far."""
    step, number = (int(x) for x in parallel.unreplicate(state.trap))
    if step < 0:
        return
    paths = jax.tree_util.tree_flatten_with_path(state.params)[0]
    names = [*TRAPPED, *(f"gradient of {optim.path_name(path)}" for path, _ in paths)]
    raise NotFinite(step + 1, names[number])


def check_parameters(state) -> None:
    """Raises NotFinite if the last update left a non-finite parameter, from which no run may resume."""
    step, params = parallel.unreplicate((state.step, state.params))
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not np.isfinite(np.asarray(leaf)).all():
            raise NotFinite(int(step), optim.path_name(path))


def trapped(error: NotFinite, image_ids: list[str]) -> TrainingError:
    """Returns the error of the guard's finding: step, first bad tensor and images of the batch."""
    shown = ", ".join(image_ids[:64]) + (f" and {len(image_ids) - 64} more" * (len(image_ids) > 64))
    return TrainingError(
        f"{error.name} is not finite at step {error.step}, on images {shown}: look at these images, "
        "or lower optim.learning_rate; the last checkpoint is untouched"
    )
