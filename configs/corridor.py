"""Corridor, an indoor fisheye pair of passes: evaluation only.

python experiments/real_images.py corridor --images=REAL/corridor --raw=runs/raw/corridor
python -m tfds_builders build places_csv --manual_dir=runs/raw/corridor \
        --config='{"name": "corridor", "position_unit": "frames"}'
python -m vprjax.main --mode=evaluate --checkpoint=runs/nordland --workdir=runs/corridor \
        --config=configs/corridor.py

Cost: no time is on record; there are 111 queries and 111 references.
Result after configs/nordland.py:gem,triplet, FCM (%) at 5 / 3 / 2 / 1 frames, mean of three seeds:
    82.0 / 80.2 / 75.7 / 60.4 to 25.5 / 19.8 / 17.1 / 11.4
All cells are in experiments/README.md.
"""

from configs import base


def get_config(names: str = ""):
    """Returns the config: positions count frames; recall@N accepts references within 2 frames."""
    config = base.get_config()
    config.dataset.name = "places_csv/corridor"
    config.dataset.train_splits = ()
    config.dataset.query_splits = ("test01",)
    config.dataset.position_unit = "frames"
    config.dataset.tolerances = (5.0, 3.0, 2.0, 1.0)
    config.eval.recall_radius = 2.0
    return base.select(config, names)
