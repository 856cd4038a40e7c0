"""The files of loop closures: one format each, listed here by what follows the prefix of `--out`."""

from vprjax.localize.pair_formats import colmap, g2o, hloc

TABLE = "-g2o.csv"
FORMATS = {
    "-pairs.txt": hloc.PAIRS,
    "-descriptors.h5": hloc.DESCRIPTORS,
    "-colmap.txt": colmap.FORMAT,
    TABLE: g2o.FORMAT,
}
