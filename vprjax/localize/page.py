"""One self-contained page of a set of queries: the route, every answer, pictures side by side."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from vprjax.data.pictures import Form, decode
from vprjax.errors import DataError
from vprjax.localize.drawing import Drawing
from vprjax.localize.map_pictures import MapPictures
from vprjax.report import render
from vprjax.report.pictures import Picture, thumbnail

ROOM = pathlib.Path(__file__).parent
PAIRS = 100  # answers that are shown with pictures at most
WIDEST = 240  # pixels of a picture


@dataclasses.dataclass(frozen=True)
class Row:
    """One query with its answer, in words.

    Attributes:
      number: of the query, from 1.
      query: its name.
      look: class of what shows it: "right", "wrong", or "" without a calibration.
      verdict: that in words, with the confidence.
      match: name of the best match.
      distance: to it, in descriptor space.
      position: of the match, "" where unknown.
      spot: of the match in the drawing, `x y`; "" where unknown.
      pictures: of the query and the match; empty where they are left out.
      target: the anchor that its dot in the drawing leads to.
    """

    number: int
    query: str
    look: str
    verdict: str
    match: str
    distance: str
    position: str
    spot: str
    pictures: tuple[Picture, ...]
    target: str


class Page:
    """The page of queries that come one after the other, however many."""

    def __init__(self, places, form: Form):
        """Starts without queries; `places` is the map that is asked, `form` its model's."""
        self._places, self._form, self._view = places, form, MapPictures(places, form)
        self._names: list[str] = []
        self._answers: list = []
        self._pairs: dict[int, tuple[Picture, ...]] = {}
        self._step = 1  # one query in so many keeps its pictures

    def add(self, name: str, answer, picture: Any) -> None:
        """Adds a query: its name, its answer and its picture, a path or uint8 `(h, w, 3)` RGB."""
        number = len(self._names)
        self._names.append(name)
        self._answers.append(answer)
        if len(self._pairs) == PAIRS and number % self._step == 0:
            self._step *= 2
            self._pairs = {n: pair for n, pair in self._pairs.items() if n % self._step == 0}
        if number % self._step == 0:
            self._pairs[number] = self._pair(name, answer, picture)

    def write(self, path: pathlib.Path, notes: Sequence[str] = ()) -> None:
        """Writes the page atomically; `notes` are sentences on the queries, such as what was left out.

        Raises:
          OSError: the file cannot be written.
        """
        drawing, count = Drawing(self._places.frames.positions, self._places.unit), len(self._names)
        found = zip(self._names, self._answers, strict=True)
        limited = f"Pictures are shown of one query in {self._step}; the table has all {count:,}."
        render.write(
            path,
            "queries.html",
            ROOM,
            title=f"{count:,} picture{'s' if count != 1 else ''}, and where they were taken",
            summary=summary(self._places, self._answers),
            notes=notes,
            calibrated=all(answer.located is not None for answer in self._answers),
            limited=limited if self._step > 1 else "",
            drawing=drawing,
            unit=self._places.unit,
            rows=[_row(n, *one, drawing, self._pairs.get(n, ())) for n, one in enumerate(found)],
        )

    def _pair(self, name: str, answer, picture: Any) -> tuple[Picture, ...]:
        """The query and its best match; one that cannot be read any more is left out."""
        match, found = str(answer.image_ids[0]), []
        readers = (lambda: self._read(picture)), (lambda: self._view(int(answer.numbers[0])))
        words = (f"query {name}", "query"), (f"match {match}", match)
        for read, (alt, caption) in zip(readers, words, strict=True):
            with contextlib.suppress(DataError, OSError):
                found.append(thumbnail(read(), alt, caption, WIDEST))
        return tuple(found)

    def _read(self, picture: Any) -> np.ndarray:
        if isinstance(picture, np.ndarray):
            return picture
        raw = pathlib.Path(picture).expanduser().read_bytes()
        return decode(raw, str(picture), self._form.sixteen_bit)


def summary(places, answers: Sequence) -> str:
    """How many places are known and what a confidence means; or that the model is not calibrated."""
    count = f"The map has {len(places):,} pictures."
    if any(answer.located is None for answer in answers):
        return (
            f"{count} Each query is shown with the most alike. The model is not calibrated: only a look "
            "tells whether it is the same place."
        )
    located = sum(answer.located for answer in answers)
    return (
        f"{count} It knows the places of {located:,} of {len(answers):,} queries. The share beside a "
        f"verdict is how often such answers are right{_basis(answers)}."
    )


def _basis(answers: Sequence) -> str:
    """The validation queries that the shares rest on, in words; "" where a drive is followed."""
    count = max((answer.queries for answer in answers), default=0)
    return f", by {count:,} validation queries" if count else ""


def _row(number: int, name: str, answer, drawing: Drawing, shown: tuple[Picture, ...]) -> Row:
    share, spot = f", {100 * answer.confidence:.0f} %", drawing.spot(answer.positions[0])
    look, verdict = {
        None: ("", "most alike"),
        True: ("right", "known" + share),
        False: ("wrong", "not known" + share),
    }[answer.located]
    return Row(
        number=number + 1,
        query=name,
        look=look,
        verdict=verdict,
        match=str(answer.image_ids[0]),
        distance=f"{answer.distances[0]:.3f}",
        position="{:.1f}, {:.1f}".format(*answer.positions[0]) if spot else "",
        spot=spot,
        pictures=shown,
        target=f"{'pictures' if shown else 'row'}{number + 1}",
    )
