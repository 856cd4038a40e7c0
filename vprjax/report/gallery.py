"""Cases to look at: queries with their match and the reference nearest in position."""

import dataclasses

import numpy as np

from vprjax.data.source import Places
from vprjax.evaluation.result import Matches
from vprjax.report.pictures import Picture, thumbnail

CASES = 4  # of each kind
APART = 12  # cases of a kind are at least 1 / APART of the drive apart


@dataclasses.dataclass(frozen=True)
class Case:
    """A query with its pictures.

    Attributes:
      query: its image id.
      verdict: "right at 2 m", "wrong" or "no position".
      right: whether it is right at the widest tolerance.
      pictures: of the query, its match and, where there is one, the reference nearest in position.
    """

    query: str
    verdict: str
    right: bool
    pictures: list[Picture]


@dataclasses.dataclass(frozen=True)
class Group:
    """Cases of one kind."""

    title: str
    cases: list[Case]


def choose(errors: np.ndarray, distance: np.ndarray, tolerances) -> dict[str, np.ndarray]:
    """Query numbers of the best, the worst and random cases.

    Best are the surest (nearest in descriptor space) queries that are right at the narrowest tolerance.
    Worst are the surest that are wrong at the widest. The number of queries decides the random ones.

    Args:
      errors: `(q,)` distances to the matches, position units, NaN where unknown.
      distance: `(q,)` distances to the matches in descriptor space.
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
    """The first `CASES` of `numbers` that lie more than `gap` frames from all earlier ones."""
    taken: list[int] = []
    for number in numbers:
        if all(abs(int(number) - other) > gap for other in taken):
            taken.append(int(number))
        if len(taken) == CASES:
            break
    return np.array(taken, np.int64)


def groups(config, queries: Places, references: Places, matches: Matches) -> list[Group]:
    """The gallery of one query split; decodes only the images that it shows.

    Args:
      config: the whole config.
      queries: the query split.
      references: the reference split.
      matches: of the queries.

    Raises:
      DataError: an image cannot be read.
    """
    chosen = choose(matches.errors, matches.distances, config.dataset.tolerances)
    return [
        Group(title, [_case(config, queries, references, matches, int(i)) for i in numbers])
        for title, numbers in chosen.items()
    ]


def changed(
    config,
    queries: Places,
    references: Places,
    matches: tuple[Matches, Matches],
    numbers: np.ndarray,
) -> Group:
    """Queries with the answers of two models; decodes only the images that it shows.

    Args:
      config: the whole config.
      queries: the query split.
      references: the reference split.
      matches: of the first model and of the second.
      numbers: `(n,)` queries that the first model alone has right; of these, some that lie apart show.

    Raises:
      DataError: an image cannot be read.
    """
    chosen = _apart(numbers, len(queries) // APART)
    cases = [_both(config, queries, references, matches, int(i)) for i in chosen]
    return Group("Right before, wrong after", cases)


def _both(config, queries: Places, references: Places, matches, i: int) -> Case:
    """A query with its match before and after."""
    query = str(queries.image_ids[i])
    images = [thumbnail(queries.images(i), f"query {query}", "query")]
    for when, found in zip(("before", "after"), matches, strict=True):
        number = int(found.numbers[i])
        away = _away(config, queries, references, i, number)
        images.append(
            thumbnail(
                references.images(number),
                f"retrieved {when}: {references.image_ids[number]}{away}",
                f"{when}{away}, descriptor distance {found.distances[i]:.3f}",
            )
        )
    return Case(query, "right before, wrong after", False, images)


def _away(config, queries: Places, references: Places, i: int, reference: int) -> str:
    """Words on the distance of a query to a reference; empty where it is unknown."""
    gap = np.linalg.norm(queries.positions[i] - references.positions[reference])
    return "" if np.isnan(gap) else f", {gap:.2f} {config.dataset.position_unit} away"


def _case(config, queries: Places, references: Places, matches: Matches, i: int) -> Case:
    unit, error = config.dataset.position_unit, matches.errors[i]
    found, true = int(matches.numbers[i]), int(matches.nearest[i])

    def away(reference: int) -> str:
        return _away(config, queries, references, i, reference)

    turned = np.isinf(error) and config.eval.heading_degrees
    other_way = ", looking another way" if turned else ""
    images = [
        thumbnail(queries.images(i), f"query {queries.image_ids[i]}", "query"),
        thumbnail(
            references.images(found),
            f"retrieved {references.image_ids[found]}{away(found)}{other_way}",
            f"retrieved{away(found)}{other_way}, descriptor distance {matches.distances[i]:.3f}",
        ),
    ]
    if true >= 0:  # with headings, all references may face another way
        words = f"nearest reference {references.image_ids[true]}{away(true)}"
        images.append(thumbnail(references.images(true), words, f"nearest{away(true)}"))
    right = [t for t in sorted(config.dataset.tolerances) if error <= t]
    wrong = "no position" if np.isnan(error) else "wrong"
    verdict = f"right at {right[0]:g} {unit}" if right else wrong
    return Case(str(queries.image_ids[i]), verdict, bool(right), images)
