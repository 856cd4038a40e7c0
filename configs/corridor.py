"""Corridor, an indoor fisheye pair of passes: evaluation only.

python -m vprjax.main --mode=evaluate --checkpoint=runs/nordland --workdir=runs/corridor \
        --config=configs/corridor.py
"""

from configs import base


def get_config(names: str = ""):
    """Position unit: one frame; a query's accepted references lie within 2 frames."""
    config = base.get_config()
    config.dataset.name = "places_csv/corridor"
    config.dataset.train_splits = ()
    config.dataset.query_splits = ("test01",)
    config.dataset.position_unit = "frames"
    config.dataset.tolerances = (5.0, 3.0, 2.0, 1.0)
    config.eval.recall_radius = 2.0
    return base.select(config, names)
