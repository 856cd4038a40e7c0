"""The embedded default: a rendered drive, built by itself when it is missing.

python -m vprjax.main --config=configs/synthetic.py --workdir=runs/synthetic
"""

from configs import base


def get_config(names: str = ""):
    """Training from random weights in a few minutes on two CPU cores."""
    config = base.get_config()
    config.dataset.name = "synthetic/default"
    base.select(config, names)
    config.model.stage = base.STRIDE_16[config.model.backbone]
    return config
