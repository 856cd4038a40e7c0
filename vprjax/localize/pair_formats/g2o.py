"""CSV of pairs for a pose graph: the images' numbers in the map are the vertices' ids of g2o.

A line becomes an edge (`EDGE_SE2 j i ...`) once a relative pose is measured; `confidence` weighs it.
"""

import csv
import io
import pathlib

from vprjax.localize.formats.variant import known, shortest
from vprjax.localize.pair_formats.variant import COLUMNS, PairFormat, is_table, names
from vprjax.storage.atomic import write_atomically


def _write(path: pathlib.Path, places, pairs) -> None:
    """`i` is the later image."""
    own, positions, text = names(places), places.frames.positions, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    columns = (pairs.later, pairs.earlier, pairs.distances, pairs.confidences)
    for i, j, distance, confidence in zip(*columns, strict=True):
        points = [
            "" if value is None else value for value in map(known, (*positions[i], *positions[j]))
        ]
        numbers = [i, j, shortest(distance), round(float(confidence), 6)]
        writer.writerow([*numbers, *points, own[i], own[j]])
    write_atomically(path, text.getvalue())


FORMAT = PairFormat("pairs with positions", _write, lambda path, table: is_table(path))
