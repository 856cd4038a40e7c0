"""The embedded default: a rendered drive, built by itself when it is missing.

python -m vprjax.main --config=configs/synthetic.py --workdir=runs/synthetic
"""

from configs import base

# From random weights VGG16's early maps tell places apart best (FCM at 2 m on test01: 34.5 with NetVLAD;
# ResNet50 conv3 + GeM 9.0; MobileNetV2 2 to 3, which is chance), so that minutes of training show.
STAGE = {**base.STRIDE_16, "vgg16": "conv3"}


def get_config(names: str = ""):
    """Training from random weights in a few minutes on two CPU cores."""
    config = base.get_config()
    config.dataset.name = "synthetic/default"
    config.model.update(backbone="vgg16", pooling="netvlad", netvlad_clusters=16)
    config.loss.name = "arcface"
    base.select(config, names)
    config.model.stage = STAGE[config.model.backbone]
    config.tuples.update(positive_radius=2.0, negative_radius=10.0, other_visit_seconds=60.0)
    config.places.update(cell=5.0, groups=1)
    config.optim.update(learning_rate=2e-4, warmup_steps=10, head_rate=1.0, class_rate=10.0)
    config.train.steps = 150
    return config
