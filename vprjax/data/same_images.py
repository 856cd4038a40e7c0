"""Images that two splits share byte for byte, by digests of the stored images.

The builders write the digests of a split beside its records (tfds_builders/digests.py): `DIGEST` bytes per
image, the first of the SHA-256 of its stored bytes, in the records' order; as many of the SHA-256 of all
these come last. Where they are missing (an earlier build) or damaged, a sample of images is compared.
"""

import dataclasses
import hashlib

import numpy as np
from scipy.spatial import cKDTree

from vprjax.data.source import Dataset, Places

DIGEST = 8  # two of a million different images share one by chance once in 37 million datasets
SAMPLE = 200  # images that are looked for where digests are missing, evenly spread
NEAREST = 4  # images of the other split that each of them is compared with, beside its namesakes


@dataclasses.dataclass(frozen=True)
class Shared:
    """How many of `looked` images of one split another split holds too."""

    found: int
    looked: int

    @property
    def most(self) -> bool:
        """Whether it is half of them or more."""
        return self.found > 0 and 2 * self.found >= self.looked


def digest(image: bytes) -> bytes:
    """The first bytes of an image's SHA-256."""
    return hashlib.sha256(image).digest()[:DIGEST]


def stored(dataset: Dataset, split: str) -> np.ndarray | None:
    """Returns the digests `(n,)` of a split's images, or None where the build left none that are sound."""
    try:
        data = (dataset.folder / f"image_digests-{split}.bin").read_bytes()
    except OSError:
        return None
    digests, seal = data[:-DIGEST], data[-DIGEST:]
    if len(digests) != DIGEST * dataset.images(split) or digest(digests) != seal:
        return None
    return np.frombuffer(digests, np.uint64)


def shared(dataset: Dataset, split: str, other: Dataset, other_split: str) -> Shared:
    """Counts the images of `split` whose bytes are those of an image of `other_split`.

    It counts all images where both splits have digests, and looks at `SAMPLE` images otherwise.

    Raises:
      DataError: a split is missing, or an image cannot be read.
    """
    ours, theirs = stored(dataset, split), stored(other, other_split)
    if ours is not None and theirs is not None:
        return Shared(int(np.isin(ours, theirs).sum()), len(ours))
    return _sampled(dataset.places((split,)), other.places((other_split,)))


def _sampled(ours: Places, theirs: Places) -> Shared:
    """Compares a sample with the images of the same name and those nearest in position."""
    looked = np.unique(np.linspace(0, len(ours) - 1, SAMPLE).astype(int))
    near = _nearest(ours.positions[looked], theirs)
    namesakes = {_name(image_id): i for i, image_id in enumerate(theirs.image_ids)}
    found = 0
    for image, nearest in zip(looked, near, strict=True):
        same_name = namesakes.get(_name(ours.image_ids[image]))
        candidates = dict.fromkeys([*([] if same_name is None else [same_name]), *nearest])
        (data,) = ours.encoded([image])
        found += any(theirs.encoded([i])[0] == data for i in candidates)
    return Shared(found, len(looked))


def _nearest(positions: np.ndarray, theirs: Places) -> list[list[int]]:
    """Numbers of the images nearest to each position; none where a position is unknown."""
    near: list[list[int]] = [[] for _ in positions]
    known, others = np.flatnonzero(np.isfinite(positions).all(axis=1)), theirs.located
    if len(known) and len(others):
        ranks = list(range(1, min(NEAREST, len(others)) + 1))
        found = cKDTree(theirs.positions[others]).query(positions[known], k=ranks)[1]
        for image, numbers in zip(known, others[found].tolist(), strict=True):
            near[image] = numbers
    return near


def _name(image_id: str) -> str:
    """An image's id without its sequence."""
    return str(image_id).partition("/")[2]
