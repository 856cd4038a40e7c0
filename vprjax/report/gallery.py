"""Cases to look at: what was asked, what was retrieved, and what would have been nearest."""

import dataclasses

import numpy as np

from vprjax.data.source import Places
from vprjax.report.pictures import Picture, thumbnail

CASES = 4  # of each kind
APART = 12  # cases of a kind are at least a this-th of the drive apart


@dataclasses.dataclass(frozen=True)
class Case:
    """A query with its pictures.

    Attributes:
      query: its image id.
      verdict: "right at 2 m" or "wrong".
      right: whether it is right at the widest tolerance.
      pictures: query, retrieved, nearest by position.
    """

    query: str
    verdict: str
    right: bool
    pictures: tuple[Picture, Picture, Picture]


@dataclasses.dataclass(frozen=True)
class Group:
    """Cases of one kind."""

    title: str
    cases: list[Case]


def choose(errors: np.ndarray, distance: np.ndarray, tolerances) -> dict[str, np.ndarray]:
    """Query numbers of the best, the worst and random cases.

    Best are the surest (nearest in descriptor space) of those right at the narrowest tolerance, worst
    the surest of those wrong at the widest; random ones are the same for the same number of queries.

    Args:
      errors: `(q,)` distance to the retrieved reference, position units.
      distance: `(q,)` descriptor distance to it.
      tolerances: position units.
    """
    surest = np.argsort(distance, kind="stable")
    best = surest[errors[surest] <= min(tolerances)]
    worst = surest[errors[surest] > max(tolerances)]
    gap = len(errors) // APART
    anyone = np.random.default_rng(0).permutation(len(errors))
    return {
        "Surest right answers": _apart(best, gap),
        "Surest wrong answers": _apart(worst, gap),
        "Random queries": np.sort(anyone[:CASES]),
    }


def _apart(numbers: np.ndarray, gap: int) -> np.ndarray:
    """The first `CASES` of `numbers` that lie more than `gap` frames from those taken before."""
    taken: list[int] = []
    for number in numbers:
        if all(abs(int(number) - other) > gap for other in taken):
            taken.append(int(number))
        if len(taken) == CASES:
            break
    return np.array(taken, np.int64)


def build(
    config,
    queries: Places,
    references: Places,
    figures: dict,
    errors: np.ndarray,
    nearest: np.ndarray,
) -> list[Group]:
    """The gallery of one query split; decodes the few images it shows.

    Args:
      config: the whole config.
      queries: the query split.
      references: the reference split.
      figures: with `matched` `(q,)`, the retrieved reference of every query, and `distance` `(q,)`.
      errors: `(q,)` how far a query is from its retrieved reference by the protocol's measure.
      nearest: `(q,)` the reference that would have been right, -1 where there is none.
    """
    chosen = choose(errors, np.asarray(figures["distance"]), config.dataset.tolerances)
    return [
        Group(
            title,
            [_case(config, queries, references, figures, errors, nearest, int(i)) for i in numbers],
        )
        for title, numbers in chosen.items()
    ]


def _case(config, queries, references, figures, errors, nearest, i: int) -> Case:
    unit, found, true = config.dataset.position_unit, int(figures["matched"][i]), int(nearest[i])

    def away(reference: int) -> str:
        gap = np.linalg.norm(queries.positions[i] - references.positions[reference])
        return f"{gap:.2f} {unit} away"

    other_way = ", looking another way" if np.isinf(errors[i]) else ""
    images = [
        thumbnail(queries.images(i), f"query {queries.image_ids[i]}", "query"),
        thumbnail(
            references.images(found),
            f"retrieved {references.image_ids[found]}, {away(found)}{other_way}",
            f"retrieved, {away(found)}{other_way}, descriptor distance {figures['distance'][i]:.3f}",
        ),
    ]
    if true >= 0:  # with headings, a reference may lie there and none look the same way
        words = f"nearest reference {references.image_ids[true]}, {away(true)}"
        images.append(thumbnail(references.images(true), words, f"nearest, {away(true)}"))
    right = [t for t in sorted(config.dataset.tolerances) if errors[i] <= t]
    verdict = f"right at {right[0]:g} {unit}" if right else "wrong"
    return Case(str(queries.image_ids[i]), verdict, bool(right), images)
