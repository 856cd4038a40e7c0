"""Your own images: a folder with places.csv.

python -m tfds_builders build places_csv --manual_dir=RAW \
        --config='{"name": "mine", "height": 240, "width": 320}'
python -m vprjax.main --config=configs/places_csv.py:vgg16,gem,triplet --workdir=runs/mine \
        --config.dataset.name=places_csv/mine --config.model.weights=vgg16-397923af.pth

Cost and result depend on the images and are not measured; 2,000 steps. Triplet and contrastive keep what
the weights tell apart in rendered images, which the first run builds; --config.keep.weight=0 and
--config.keep.images='()' keep nothing.
"""

from configs import base


def get_config(names: str = ""):
    """Returns the config: sequences train, reference and test01; the paper's outdoor tolerances."""
    config = base.get_config()
    config.dataset.name = "places_csv/default"
    config.dataset.query_splits = ("test01",)
    config.train.steps = 2000
    base.select(config, names)
    base.keep_rendered(config)
    return config
