"""COLD Saarbruecken, map B, extended path: the paper's indoor study (Table IV).

python -m tfds_builders build cold --manual_dir=RAW
python -m vprjax.main --config=configs/cold.py:resnet50,gem,arcface --workdir=runs/cold \
        --config.model.weights=resnet50-0676ba61.pth

Cost: not measured, as no run on this dataset is on record; 4,000 steps.
Result: not measured; the paper prints FCM (%) at 1 / 0.75 / 0.5 / 0.25 m for this cell:
    test01 96.53 / 94.32 / 84.75 / 46.33
    test02 93.45 / 86.49 / 81.14 / 47.01

Radii, cells and steps follow from the data; rates, margins, scale and batches are those of
`configs/base.py` for every loss and head: no sweep on this dataset chose them.
`configs/synthetic.py` and `configs/nordland.py` have swept ones.
"""

from configs import base


def get_config(names: str = ""):
    """Returns the config: train sunny3, reference cloudy1, test01 cloudy2, test02 night3."""
    config = base.get_config()
    config.dataset.name = "cold/paper"
    config.dataset.tolerances = (1.0, 0.75, 0.5, 0.25)
    config.model.backbone = "resnet50"
    config.tuples.positive_radius = 0.5
    config.tuples.negative_radius = 2.0
    config.places.cell = 0.5
    config.places.min_images = 2
    config.train.steps = 4000
    return base.select(config, names)
