"""Oxford Radar RobotCar, the paper's outdoor study (Table III).

python -m tfds_builders build robotcar --manual_dir=RAW
python -m vprjax.main --config=configs/robotcar.py:resnet50,gem,arcface --workdir=runs/robotcar \
        --config.model.weights=resnet50-0676ba61.pth

Cost: not measured, as no run on this dataset is on record; 20,000 steps. The build takes about
18 minutes on two cores and 2.8 GB, extrapolated from 4,000 synthetic frames.
Result: not measured; the paper prints FCM (%) at 25 / 10 / 5 / 2 m for this cell:
    test01 96.51 / 94.08 / 68.91 / 48.09
    test02 92.00 / 89.00 / 84.62 / 65.08

Steps and mining follow from the data; rates, margins, scale and batches are those of
`configs/base.py` for every loss and head: no sweep on this dataset chose them.
`configs/synthetic.py` and `configs/nordland.py` have swept ones.
"""

from configs import base


def get_config(names: str = ""):
    """Returns the config: train 2019-01-10 11:46, reference 12:32, test01 01-11, test02 01-16."""
    config = base.get_config()
    config.dataset.name = "robotcar/paper"
    config.model.backbone = "resnet50"
    config.tuples.negatives = 10
    config.train.steps = 20_000
    config.tuples.mining_interval = 1000
    config.tuples.mining_pool = 5000
    config.train.checkpoint_every = 1000
    return base.select(config, names)
