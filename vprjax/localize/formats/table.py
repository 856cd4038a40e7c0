"""CSV: one line per picture, the k places beside each other; also what `query` prints line by line."""

import csv
import io
from collections.abc import Sequence

from vprjax.localize.answer import Answer
from vprjax.localize.formats.variant import Format, known, shortest
from vprjax.localize.inputs import Asked

WORDS = {None: "unknown", True: "yes", False: "no"}


def header(k: int) -> list[str]:
    """The columns' names: `match`, `x`, `y` and `distance` of the first place, then `match_2`, ..."""
    columns = ["image", "time", "located", "confidence"]
    for rank in range(1, k + 1):
        end = "" if rank == 1 else f"_{rank}"
        columns += [f"{name}{end}" for name in ("match", "x", "y", "distance")]
    return columns


def row(asked: Asked, answer: Answer) -> list:
    """One picture's values; unknown ones are empty."""
    values = [asked.name, asked.time, WORDS[answer.located], round(answer.confidence, 6)]
    for image_id, position, distance in zip(
        answer.image_ids, answer.positions, answer.distances, strict=True
    ):
        values += [image_id, *map(known, position), shortest(distance)]
    return ["" if value is None else value for value in values]


def line(values: Sequence) -> str:
    """One line of CSV with its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _text(places, answers: Sequence[tuple[Asked, Answer]]) -> str:
    k = max((len(answer.numbers) for _, answer in answers), default=1)
    return line(header(k)) + "".join(line(row(*one)) for one in answers)


FORMAT = Format("CSV", "image,time,located,confidence,match,", _text)
