"""The config's train step, mapped over the devices."""

import functools

import jax

from vprjax import losses, models, sampling
from vprjax.data import transforms
from vprjax.runtime import parallel
from vprjax.training import state
from vprjax.training.step import StepRules, make_train_step


def train_step(config, module, params):
    """Makes the mapped train step `(state, batch) -> (state, metrics)`; it reuses the state's buffers."""
    a = config.augment
    augment = functools.partial(
        transforms.augment,
        crop=a.crop,
        mirror=a.mirror and sampling.kind(config).MIRRORS,
        brightness=a.brightness,
        contrast=a.contrast,
        noise=a.noise,
    )
    rules = StepRules(
        train_batch_norm=config.model.batch_norm == "train",
        axis=parallel.AXIS,
        accumulate=config.train.accumulate,
        ema_decay=config.optim.ema,
        lowest=models.lowest_values(config.model),
    )
    step = make_train_step(
        module.apply,
        losses.make(config.loss, config.tuples, parallel.AXIS),
        state.optimiser(config, params),
        augment,
        jax.random.key(config.seed),
        rules,
    )
    return parallel.map_over_devices(step, donate=(0,))
