"""Places of training images, cut from the route or named by labels, and P x K batches of them."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class PlaceClasses:
    """The images of every place, and the places that train against each other.

    Attributes:
      members: per class, the ascending indices of its images.
      groups: per group, its classes. A step trains on one group, so that places which touch
        (near-duplicates across a border) never meet as different classes.
    """

    members: tuple[np.ndarray, ...]
    groups: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.members)


def cut(
    positions: np.ndarray,
    headings: np.ndarray,
    *,
    cell: float,
    heading_degrees: float,
    groups: int,
    min_images: int,
) -> PlaceClasses:
    """Cuts classes by cell `(floor(E/M), floor(N/M), floor(heading/a))`, in `groups^2` groups.

    The group of a cell is `(floor(E/M) mod groups, floor(N/M) mod groups, heading bin mod 2)`. Two classes
    of one group therefore lie at least `(groups - 1) M` apart or look in other directions. This takes an
    even number of bins; where no heading is known there is one bin. The cut leaves out places of fewer than
    `min_images` images.

    Args:
      positions: `(n, 2)`, position units.
      headings: `(n,)` radians, NaN where unknown.
      cell: M, in position units.
      heading_degrees: a, in degrees; 0 ignores heading.
      groups: groups along each axis.
      min_images: fewest images per class.

    Raises:
      ValueError: no place has enough images, or some headings are known and others not.

    Source: CosPlace (Berton et al. 2022).
    """
    east, north = np.floor(positions / cell).astype(np.int64).T
    keys = np.stack([east, north, _bins(headings, heading_degrees)], axis=1)
    cells, which, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    group_of = (cells[:, 0] % groups) * groups + cells[:, 1] % groups
    if groups > 1 and heading_degrees:
        group_of = group_of * 2 + cells[:, 2] % 2
    found = _classes(which.ravel(), counts, group_of.tolist(), min_images)
    if not len(found):
        raise ValueError(
            f"no place of cell {cell:g} holds {min_images} training images; "
            "enlarge places.cell or lower places.min_images"
        )
    return found


def _bins(headings: np.ndarray, heading_degrees: float) -> np.ndarray:
    """The heading bin `(n,)` of every image; 0 for all where `heading_degrees` is 0 or none is known."""
    if not heading_degrees:
        return np.zeros(len(headings), np.int64)
    unknown = np.count_nonzero(np.isnan(headings))
    if 0 < unknown < len(headings):  # the unknown would count as other places
        raise ValueError(
            f"{unknown} of the {len(headings)} training images have no heading, but "
            f"places.heading_degrees={heading_degrees:g} cuts places by it: add their headings, leave "
            "these images out or set it to 0"
        )
    degrees = np.degrees(np.nan_to_num(headings)) % 360
    bins = math.ceil(360 / heading_degrees)
    width = 360 / bins  # equal: two classes of a group would be near across a narrow last bin
    return np.floor(degrees / width).astype(np.int64) % bins  # -1e-17 % 360 is 360


def _classes(
    which: np.ndarray, counts: np.ndarray, group_of: Sequence, min_images: int
) -> PlaceClasses:
    """The classes of at least `min_images` images, their groups in ascending order.

    Args:
      which: the place `(n,)` of every image.
      counts: images `(p,)` of every place, none 0.
      group_of: the group of every place, or None for a place that is no class.
      min_images: fewest images per class.
    """
    members, by_group = [], {}
    by_place = np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])
    for group, images in zip(group_of, by_place, strict=True):
        if group is not None and len(images) >= min_images:
            by_group.setdefault(group, []).append(len(members))
            members.append(images)
    ordered = tuple(np.array(by_group[g], np.int64) for g in sorted(by_group))
    return PlaceClasses(tuple(members), ordered)


def of_labels(labels: np.ndarray, min_images: int) -> PlaceClasses:
    """Takes a class per label; the part before a last `/`, a city, is its group.

    Images without a label belong to no class. The cut leaves out places of fewer than `min_images` images.

    Args:
      labels: `(n,)` str.
      min_images: fewest images per class.

    Raises:
      ValueError: no place has enough images.

    Source: GSV-Cities (Ali-bey et al. 2022), whose batches come from one city.
    """
    names, which, counts = np.unique(labels.astype(str), return_inverse=True, return_counts=True)
    group_of = [str(name).rpartition("/")[0] if name else None for name in names]
    found = _classes(which.ravel(), counts, group_of, min_images)
    if not len(found):
        raise ValueError(
            f"no label names {min_images} training images (places.by='label'): lower places.min_images or "
            "cut places by cell"
        )
    return found


def merged(parts: Sequence[PlaceClasses], firsts: Sequence[int]) -> PlaceClasses:
    """Joins the classes of several datasets; `firsts` are the numbers of each one's first image.

    No two datasets share a class or a group.
    """
    members, groups = [], []
    for part, first in zip(parts, firsts, strict=True):
        groups += [group + len(members) for group in part.groups]
        members += [images + first for images in part.members]
    return PlaceClasses(tuple(members), tuple(groups))


def fewest(batch_places: int) -> int:
    """Returns the fewest classes that a group needs: a batch's, but two at least to train on."""
    return max(2, batch_places)


def usable_groups(
    classes: PlaceClasses, batch_places: int, among: Sequence[int] | None = None
) -> list[int]:
    """Returns the groups with at least the `fewest` classes that train, of all or of those `among`."""
    least = fewest(batch_places)
    groups = range(len(classes.groups)) if among is None else among
    return [g for g in groups if len(classes.groups[g]) >= least]


def batch_at(
    classes: PlaceClasses,
    batch_places: int,
    images_per_place: int,
    seed: int,
    step: int,
    among: Sequence[int] | None = None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Draws one step's batch: image indices `(p, k)` int32, class labels `(p,)` int32 and its group.

    Groups take turns, all or those `among`, and places never repeat. Images repeat only where a place has
    fewer than `images_per_place`. The batch is a pure function of `(seed, step)`.

    Raises:
      ValueError: no group has `batch_places` classes, or two.
    """
    usable = usable_groups(classes, batch_places, among)
    if not usable:
        groups = range(len(classes.groups)) if among is None else among
        most = max(len(classes.groups[g]) for g in groups)
        if most < 2:
            raise ValueError(
                "no group has two places, and one place alone trains nothing; lower places.cell or "
                "places.min_images, set places.groups=1 or add training images"
            )
        raise ValueError(
            f"no group has {batch_places} places (the largest has {most}); "
            "lower places.batch_places, places.cell or places.groups"
        )
    rng = np.random.default_rng((seed, 4, step))
    group = usable[step % len(usable)]
    labels = rng.choice(classes.groups[group], batch_places, replace=False)
    images = np.empty((batch_places, images_per_place), np.int32)
    for row, label in enumerate(labels):
        members = classes.members[label]
        images[row] = rng.choice(members, images_per_place, replace=len(members) < images_per_place)
    return images, labels.astype(np.int32), group
