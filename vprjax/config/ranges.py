"""The range of every config key, in the one table that `config.checks` reads."""

from vprjax import losses, models
from vprjax.baselines import BASELINES
from vprjax.descriptors.store import DTYPES
from vprjax.losses.tuples import IN_BATCH
from vprjax.models.heads import HEADS
from vprjax.optim import OPTIMISERS
from vprjax.retrieval import SCANS
from vprjax.variants import Flag, Number, OneOf, Several, SplitName, Text, Whole, own_keys

ABOVE_0 = Number(above=True)
SHARE = Number(high=1, below=True)
RANGES = {
    "seed": Whole(),
    "dataset.name": Text(empty=False),
    "dataset.data_dir": Text(),
    "dataset.train_splits": Several(SplitName(), least=0),
    "dataset.reference_split": SplitName(),
    "dataset.query_splits": Several(SplitName(), least=0),  # none: train alone
    "dataset.position_unit": Text(),
    "dataset.tolerances": Several(Number()),
    "model.backbone": OneOf(models.BACKBONES),
    "model.stage": Text(),  # `models.check` knows each backbone's stages
    "model.train_from": Text(),
    "model.batch_norm": OneOf(models.BATCH_NORMS),
    "model.weights": Text(),
    "model.partial_weights": Flag(),
    "model.pooling": OneOf(HEADS),
    "model.norms": Several(OneOf(models.NORMS), least=0),
    "model.projection": Whole(),
    "model.projection_start": OneOf(models.PROJECTION_STARTS),
    "model.compute_dtype": OneOf(models.DTYPES),
    "model.remat": Flag(),
    "loss.name": OneOf(losses.LOSSES),
    "tuples.batch": Whole(1),
    "tuples.negatives": Whole(),
    "tuples.in_batch": OneOf(IN_BATCH),
    "tuples.in_batch_negatives": Whole(1),
    "tuples.positive_radius": ABOVE_0,
    "tuples.negative_radius": ABOVE_0,
    "tuples.heading_degrees": Number(high=180),
    "tuples.other_visit_seconds": Number(),
    "tuples.mining": OneOf(("hard", "semi_hard", "random")),
    "tuples.positive": OneOf(("best", "random")),
    "tuples.mining_interval": Whole(1),
    "tuples.mining_pool": Whole(),
    "tuples.remembered": Whole(),
    "places.by": OneOf(("cell", "label")),
    "places.cell": ABOVE_0,
    "places.heading_degrees": Number(high=360),
    "places.groups": Whole(1),
    "places.min_images": Whole(1),
    "places.batch_places": Whole(1),
    "places.images_per_place": Whole(1),
    "augment.crop": SHARE,
    "augment.mirror": Flag(),
    "augment.brightness": Number(high=1),
    "augment.contrast": Number(high=1),
    "augment.noise": Number(high=255),
    "optim.name": OneOf(OPTIMISERS),
    "optim.learning_rate": ABOVE_0,
    "optim.weight_decay": Number(),
    "optim.momentum": SHARE,
    "optim.warmup_steps": Whole(),
    "optim.clip_norm": Number(),
    "optim.head_rate": Number(),
    "optim.ema": SHARE,
    "train.steps": Whole(),
    "train.accumulate": Whole(1),
    "train.log_every": Whole(1),
    "train.checkpoint_every": Whole(1),
    "train.keep_checkpoints": Whole(1),
    "validation.every": Whole(),
    "validation.query_split": SplitName(empty=True),
    "validation.reference_split": SplitName(empty=True),
    "validation.stretch": Number(high=1, above=True, below=True),
    "validation.patience": Whole(),
    "baseline.name": OneOf(("", *BASELINES)),
    "eval.batch": Whole(1),
    "eval.recalls": Several(Whole(1)),
    "eval.recall_radius": Number(),
    "eval.heading_degrees": Number(high=180),
    "eval.pca": Whole(),
    "eval.pca_whiten": Flag(),
    "eval.standardise": OneOf(("", "sets", "clusters")),
    "eval.query_expansion": Whole(high=1000),
    "eval.database_augmentation": Whole(high=1000),
    "eval.expansion_power": Number(high=100),
    "eval.sequence_length": Whole(),
    "eval.search_scan": OneOf(SCANS),
    "eval.search_memory": Number(above=True, high=2**20),
    "eval.descriptor_dtype": OneOf(DTYPES),
    "eval.keep_descriptors": Flag(),
}
OWN = own_keys("model", HEADS) | own_keys("loss", losses.LOSSES)
OWN |= own_keys("baseline", BASELINES)
RANGES |= {key: own.allowed for key, own in OWN.items()}
