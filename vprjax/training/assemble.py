"""The config's train step, mapped over the devices."""

import jax

from vprjax import losses, models, sampling
from vprjax.data import transforms
from vprjax.losses import kept
from vprjax.models import multi_scale
from vprjax.runtime import parallel
from vprjax.training import state
from vprjax.training.step import StepRules, make_train_step


def train_step(config, module, params):
    """Makes the mapped train step `(state, batch) -> (state, metrics)`; it reuses the state's buffers."""
    settings = dict(config.augment)
    settings["mirror"] = config.augment.mirror and sampling.kind(config).MIRRORS
    augmentation = transforms.Augmentation(**settings)
    rules = StepRules(
        train_batch_norm=config.model.batch_norm == "train",
        axis=parallel.AXIS,
        accumulate=config.train.accumulate,
        ema_decay=config.optim.ema,
        lowest=models.lowest_values(config.model),
        keep_weight=config.keep.weight,
    )
    loss = losses.make(config.loss, config.tuples, parallel.AXIS)
    if config.keep.batch_weight:
        loss = kept.with_kept_similarities(loss, config.keep.batch_weight, parallel.AXIS)
    step = make_train_step(
        module.clone(scales=multi_scale.ONE).apply,
        loss,
        state.optimiser(config, params),
        lambda images, key: transforms.augment(images, key, augmentation),
        jax.random.key(config.seed),
        rules,
        lambda descriptors, keep: kept.similarity_change(
            descriptors, keep["similarities"], parallel.AXIS
        ),
    )
    return parallel.map_over_devices(step, donate=(0,))
