"""The engine of models in memory: vprjax's own network under JAX."""

import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from vprjax import models
from vprjax.console import progress
from vprjax.data.pictures import Form
from vprjax.descriptors import store
from vprjax.descriptors.extraction import Extractor
from vprjax.errors import ConfigError
from vprjax.models.backbones import BACKBONES
from vprjax.models.heads import HEADS
from vprjax.runtime import parallel

MOST_CONSTANT = 512 << 20  # bytes of variables that a program may hold a copy of


class Network:
    """A network and its variables; it computes as an evaluation does.

    One picture alone has a program of its own on a CPU, in which the variables are constants. XLA then
    arranges and folds them once, which takes a fifth to a third of the time away. It rounds otherwise.

    Attributes:
      config: the `model` section.
      variables: on the host.
    """

    def __init__(self, model_config, variables: dict):
        """Builds the network; the first use copies the variables to the devices."""
        self.config, self.variables = model_config, variables
        self._module = models.build_for_platform(model_config, parallel.AXIS)
        self._extractors: dict[int, Extractor] = {}
        self._replicated = None

    @property
    def title(self) -> str:
        """Backbone and head."""
        return f"{BACKBONES[self.config.backbone].title} + {HEADS[self.config.pooling].title}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what it computes."""
        return store.fingerprint(self.config, self.variables)

    def dimension(self, form: Form) -> int:
        """Dimensions of a descriptor.

        Raises:
          ConfigError: images of this form are too small for the network.
        """
        image = jax.ShapeDtypeStruct((1, form.height, form.width, 3), np.uint8)
        try:
            return jax.eval_shape(self._module.apply, self.variables, image).shape[-1]
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def stream(self, pictures, batch: int, first: int) -> Iterator[np.ndarray]:
        """Yields descriptors, as `model.Engine` does."""
        if batch == 1 and self.alone is not None:
            yield from self._one_by_one(pictures, first)
            return
        if self._replicated is None:
            self._replicated = parallel.replicate(self.variables)
        if batch not in self._extractors:
            self._extractors[batch] = Extractor(self._module.apply, batch, tell=lambda _: None)
        every = np.arange(len(pictures))
        yield from self._extractors[batch].stream(
            self._replicated, pictures, every, "describe", first
        )

    @functools.cached_property
    def alone(self) -> Callable | None:
        """The program of one picture; None where the usual one serves."""
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(self.variables))
        if jax.default_backend() != "cpu" or parallel.process_count() > 1 or size > MOST_CONSTANT:
            return None
        return jax.jit(models.constant_for_cpu(self.config, self.variables))

    def _one_by_one(self, pictures, first: int) -> Iterator[np.ndarray]:
        def described(number: int) -> np.ndarray:
            return np.asarray(self.alone(pictures.images(np.array([number]))), np.float32)

        if len(pictures) - first == 1:  # a server that answers one picture prints no progress
            yield described(first)
            return
        with progress("describe", len(pictures), "images", first) as bar:
            for number in range(first, len(pictures)):
                yield described(number)
                bar.advance(1)
