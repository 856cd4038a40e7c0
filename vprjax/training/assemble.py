"""What a config asks for, built for this platform: the model and the mapped train step."""

import functools

import jax
from flax import linen as nn

from vprjax import batch_losses, models, sampling
from vprjax.cpu_ops import convolution, max_pool
from vprjax.data import transforms
from vprjax.runtime import parallel
from vprjax.training import state
from vprjax.training.step import make_train_step


def model(model_config):
    """The config's model with the convolution and the max pooling that are fast on this platform."""
    fast = (convolution.conv_general_dilated, max_pool.max_pool)
    stock = (None, nn.max_pool)
    operations = fast if jax.default_backend() == "cpu" else stock
    return models.build(model_config, *operations, parallel.AXIS)


def train_step(config, module, params):
    """The mapped train step `(state, batch) -> (state, metrics)`; the state's buffers are reused."""
    a = config.augment
    use_places = sampling.uses_places(config)
    augment = functools.partial(
        transforms.augment,
        crop=a.crop,
        mirror=a.mirror and not use_places,  # A mirrored place is another place.
        brightness=a.brightness,
        contrast=a.contrast,
        noise=a.noise,
    )
    step = make_train_step(
        module.apply,
        batch_losses.make(config.loss, config.tuples, use_places, parallel.AXIS),
        state.optimiser(config, params),
        augment,
        jax.random.key(config.seed),
        train_batch_norm=config.model.batch_norm == "train",
        axis=parallel.AXIS,
        accumulate=config.train.accumulate,
        ema_decay=config.optim.ema,
    )
    return parallel.map_over_devices(step, donate=(0,))
