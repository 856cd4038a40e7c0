"""Models of other projects as they were released: evaluation as they are, and fine-tuning.

python -m vprjax.weights list
python -m vprjax.main --mode=evaluate --config=configs/released.py:cosplace_resnet50_2048 \
        --workdir=runs/cosplace --config.model.weights=ResNet50_2048_cosplace.pth \
        --config.dataset.name=places_csv/mine
python -m vprjax.main --config=configs/released.py:cosplace_resnet50_2048,nordland,triplet \
        --workdir=runs/tuned --config.model.weights=ResNet50_2048_cosplace.pth

The first name is one of the list. Behind it may stand a dataset's config (`nordland` is
`configs/nordland.py`) and a loss. Without a dataset's config the splits are train, reference and test01.

The network sees the images in the size that the dataset stores: build it in the size of the list.
Cost and result depend on both and are not measured here; 2,000 steps where no dataset's config says more.
"""

from configs import base, cold, corridor, nordland, places_csv, robotcar, synthetic
from vprjax.weights import catalogue

# Dataset configs that may stand behind the model's name.
DATASETS = {
    "cold": cold,
    "corridor": corridor,
    "nordland": nordland,
    "places_csv": places_csv,
    "robotcar": robotcar,
    "synthetic": synthetic,
}


def get_config(names: str = ""):
    """Returns the config of a dataset with a released model's `model` section in it.

    Raises:
      ValueError: the model's name is unknown or missing.
    """
    name, *rest = names.split(",")
    _, release = catalogue.release(name)
    dataset = rest.pop(0) if rest and rest[0] in DATASETS else "places_csv"
    config = DATASETS[dataset].get_config(",".join(rest))
    if dataset == "places_csv":
        config.dataset.name = ""  # of --config.dataset.name
    # A dataset's config may change it for its own models.
    config.model.update(base.get_config().model)
    config.model.released = name
    for key, value in release.model.items():
        section, _, last = key.rpartition(".")
        (config.model[section] if section else config.model)[last] = value
    return config
