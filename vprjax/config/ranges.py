"""What every key of a config may be: the one table that `config_check` goes through."""

import dataclasses
import difflib
import math
import re
import unicodedata
from collections.abc import Iterable

from vprjax import models
from vprjax.batch_losses import IN_BATCH
from vprjax.descriptors.store import DTYPES
from vprjax.optim import LEAST_P, OPTIMISERS
from vprjax.retrieval import SCANS

INT32 = 2**31 - 1  # steps and image numbers are int32
FLOAT32 = 3.4e38  # figures are float32 on the device


@dataclasses.dataclass(frozen=True)
class Number:
    """A number from `low` (or only `above` it) to `high` (or only `below` it)."""

    low: float = 0
    high: float = FLOAT32
    above: bool = False
    below: bool = False

    def allows(self, value) -> bool:
        """Whether the key may have this value; NaN is in no range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low = self.low < value if self.above else self.low <= value
        return low and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        """The range in words, as in `must be ...`."""
        low = f"above {self.low:g}" if self.above else f"{self.low:g} or more"
        return f"a number {low} and {'below' if self.below else 'at most'} {self.high:g}"


@dataclasses.dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int = 0
    high: int = INT32

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        return type(value) is int and self.low <= value <= self.high

    def __str__(self) -> str:
        """The range in words."""
        return f"a whole number of {self.low} or more and at most {self.high}"


@dataclasses.dataclass(frozen=True)
class Text:
    """Any text without control characters; "" only where it may be `empty`."""

    empty: bool = True

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        if not isinstance(value, str) or not (value or self.empty):
            return False
        return not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value)

    def __str__(self) -> str:
        """The range in words."""
        return f"a text{'' if self.empty else ', not an empty one,'} without control characters"


@dataclasses.dataclass(frozen=True)
class SplitName:
    """A split, whose name becomes part of files' names; "" only where it may be `empty`."""

    empty: bool = False

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        return isinstance(value, str) and (
            re.fullmatch(r"\w[\w.-]*", value) is not None or (self.empty and not value)
        )

    def __str__(self) -> str:
        """The range in words."""
        return f"a text of letters, digits, _ . and -{', or empty' if self.empty else ''}"


class Flag:
    """True or False."""

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        return isinstance(value, bool)

    def __str__(self) -> str:
        """The range in words."""
        return "True or False"


@dataclasses.dataclass(frozen=True)
class Several:
    """A tuple of at `least` so many values, each in the range `of`."""

    of: Number | Whole | SplitName
    least: int = 1

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        if not isinstance(value, tuple | list) or len(value) < self.least:
            return False
        return all(self.of.allows(item) for item in value)

    def __str__(self) -> str:
        """The range in words."""
        return f"a tuple of {self.least} or more, each {self.of}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of some names."""

    names: Iterable[str]

    def allows(self, value) -> bool:
        """Whether the key may have this value."""
        return isinstance(value, str) and value in self.names

    def __str__(self) -> str:
        """The range in words."""
        return f"one of {', '.join(map(repr, self.names))}"

    def hint(self, value) -> str:
        """The nearest right name as a question, "" where none is near."""
        near = difflib.get_close_matches(str(value), list(self.names), 1)
        return f"; did you mean {near[0]!r}?" if near else ""


ABOVE_0 = Number(above=True)
SHARE = Number(high=1, below=True)
RANGES = {
    "seed": Whole(),
    "dataset.name": Text(empty=False),
    "dataset.data_dir": Text(),
    "dataset.train_splits": Several(SplitName(), least=0),
    "dataset.reference_split": SplitName(),
    "dataset.query_splits": Several(SplitName()),
    "dataset.position_unit": Text(),
    "dataset.tolerances": Several(Number()),
    "model.backbone": OneOf(models.BACKBONES),
    "model.stage": Text(),  # which names depends on the backbone: `models.check`
    "model.train_from": Text(),
    "model.batch_norm": OneOf(models.BATCH_NORMS),
    "model.weights": Text(),
    "model.partial_weights": Flag(),
    "model.pooling": OneOf(models.POOLINGS),
    "model.gem_p": Number(low=LEAST_P),
    "model.gem_per_channel": Flag(),
    "model.netvlad_clusters": Whole(2),
    "model.projection": Whole(),
    "model.projection_start": OneOf(models.PROJECTION_STARTS),
    "model.compute_dtype": OneOf(models.DTYPES),
    "model.param_dtype": OneOf(models.DTYPES),
    "model.remat": Flag(),
    "loss.name": OneOf(("triplet", "contrastive", "arcface")),
    "loss.triplet_margin": Number(high=4),  # unit descriptors' squared distance ends there
    "loss.contrastive_margin": Number(high=2),  # and their distance here
    "loss.contrastive_squared": Flag(),
    "loss.arcface_margin": Number(high=math.pi / 2),  # past 2.3 the loss rises
    "loss.arcface_margin_warmup": Whole(),
    "loss.arcface_scale": ABOVE_0,
    "loss.arcface_classes": OneOf(("places", "pair")),
    "tuples.batch": Whole(1),
    "tuples.negatives": Whole(),
    "tuples.in_batch": OneOf(IN_BATCH),
    "tuples.in_batch_negatives": Whole(1),
    "tuples.positive_radius": ABOVE_0,
    "tuples.negative_radius": ABOVE_0,
    "tuples.other_visit_seconds": Number(),
    "tuples.mining": OneOf(("hard", "semi_hard", "random")),
    "tuples.positive": OneOf(("best", "random")),
    "tuples.mining_interval": Whole(1),
    "tuples.mining_pool": Whole(),
    "tuples.remembered": Whole(),
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
    "optim.gem_p_rate": Number(),
    "optim.head_rate": Number(),
    "optim.class_rate": Number(),
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
    "eval.batch": Whole(1),
    "eval.recalls": Several(Whole(1)),
    "eval.recall_radius": Number(),
    "eval.heading_degrees": Number(high=180),
    "eval.pca": Whole(),
    "eval.pca_whiten": Flag(),
    "eval.sequence_length": Whole(),
    "eval.search_scan": OneOf(SCANS),
    "eval.search_memory": Number(above=True, high=2**20),
    "eval.descriptor_dtype": OneOf(DTYPES),
    "eval.keep_descriptors": Flag(),
}
