"""The files of loop closures: one format each, listed here by what follows the prefix of `--out`."""

from vprjax.localize.pair_formats import colmap, g2o, hloc

FORMATS = {
    "-pairs.txt": hloc.PAIRS,
    "-descriptors.h5": hloc.DESCRIPTORS,
    "-colmap.txt": colmap.FORMAT,
    "-g2o.csv": g2o.FORMAT,
}
