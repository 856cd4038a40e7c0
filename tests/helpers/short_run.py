"""A run of seven steps on a drive in memory."""

from configs import base
from vprjax.storage.checkpoint import open_for_reading


def config(loss="triplet"):
    c = base.get_config()
    c.model.update(backbone="mobilenetv2", stage="expanded_conv")
    c.loss.name = loss
    c.tuples.update(batch=8, negatives=2, mining_interval=3, other_visit_seconds=100.0)
    c.places.update(batch_places=8, images_per_place=2, min_images=2)
    c.augment.update(contrast=0.2, noise=2.0)
    c.optim.update(learning_rate=1e-3, warmup_steps=2)
    c.train.update(steps=7, log_every=2, checkpoint_every=3)  # saves between two logged rows too
    c.eval.batch = 16
    return c


def state_of(folder):
    reader = open_for_reading(folder)
    return reader.restore_model(reader.steps()[-1]), reader.steps()
