"""COLMAP's match list: two image names per line with one space between, relative to its image folder.

`colmap matches_importer --match_type pairs` and `pycolmap.match_image_pairs` read it. COLMAP leaves out
lines that begin with #, and images that its database lacks.
"""

import pathlib

from vprjax.localize.pair_formats.variant import (
    PairFormat,
    check_names,
    lines,
    lists_pairs_of,
)
from vprjax.storage.atomic import write_atomically


def _write(path: pathlib.Path, places, pairs) -> None:
    write_atomically(path, lines(places, pairs))


FORMAT = PairFormat("COLMAP's match list", _write, lists_pairs_of, check_names)
