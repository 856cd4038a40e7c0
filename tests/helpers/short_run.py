"""A run of seven steps on a drive in memory."""

import dataclasses
import pathlib

from configs import base
from tests.helpers.memory_places import drive
from vprjax.storage.checkpoint import open_for_reading
from vprjax.training import loop, preflight


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


class Dataset:
    """Stands for a built dataset, whose every split has the pixels of `DRIVE()`, but bytes of its own."""

    name, version, metadata = "places_csv/mine", "1.0.0", {}
    folder = pathlib.Path("nowhere")
    counts = dict.fromkeys(("train", "reference", "test01", "test02"), 80)
    images = counts.get

    def places(self, splits):
        found = DRIVE()
        own = tuple(Marked(source, splits[0].encode()) for source in found.sources)
        return dataclasses.replace(found, sources=own)


@dataclasses.dataclass
class Marked:
    """A source whose images end in a mark that no reader looks at."""

    source: object
    mark: bytes

    def __getitem__(self, index):
        record = self.source[index]
        return {**record, "image": record["image"] + self.mark}


DRIVE = drive  # tests put another in its place


def train(config, workdir, weights=None):
    """What `vprjax.main` does with an opened dataset, but for evaluation and provenance."""
    loop.train(config, preflight.training_data(config, Dataset()), workdir, weights, {})
