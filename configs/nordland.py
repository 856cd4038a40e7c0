"""Nordland railway, summer to winter: real images, which are not in this repository.

python experiments/real_images.py nordland --images=REAL/nordland --raw=runs/raw/nordland --drop_still
python -m tfds_builders build places_csv --manual_dir=runs/raw/nordland \
        --config='{"name": "nordland", "height": 64, "width": 128, "position_unit": "frames"}'
python -m vprjax.main --config=configs/nordland.py:gem,triplet --workdir=runs/nordland \
        --config.model.weights=mobilenetv2_imagenet.npz

Cost: no time is on record; MobileNetV2 takes 1,000 steps (GeM 500 with keep images, ArcFace 1,122) and
VGG16 100 or 200. The first run with keep images builds the two rendered datasets.
Result, FCM (%) at 10 / 1 / 0 frames, mean of three seeds: 6.0 / 3.4 / 2.7 to 48.1 / 41.3 / 39.2.
All cells are in README.md, the sweeps in experiments/records/real_protocols.md.
"""

from configs import base


def get_config(names: str = ""):
    """Returns the config: training across seasons at 128x64; positions count frames of about 200 m."""
    config = base.get_config()
    config.dataset.name = "places_csv/nordland"
    config.dataset.train_splits = ("train_summer", "train_winter")
    config.dataset.query_splits = ("test02",)
    config.dataset.position_unit = "frames"
    config.dataset.tolerances = (10.0, 5.0, 2.0, 1.0, 0.0)
    config.tuples.positive_radius = 1.0
    config.tuples.negative_radius = 10.0
    config.tuples.other_visit_seconds = 1e9  # positives from the other season only
    config.tuples.mining_interval = 50
    config.tuples.mining_pool = (
        300  # the hardest of all often show the same place: stops, repeated views
    )
    config.places.cell = 3.0
    config.places.heading_degrees = 0.0
    config.tuples.heading_degrees = 0.0  # no frame has a heading; the records' runs ignored it
    config.augment.crop = 0.1
    config.augment.contrast = 0.3
    config.augment.brightness = 0.1
    base.select(config, names)
    # NetVLAD's contrastive margins and MobileNetV2's rates with GeM and with ArcFace are the best, or one
    # query from it, on the held-out segment of `real_images.py nordland_tune`. NetVLAD's rates with
    # triplet are the best on `nordland_tune_wide`. Other rates and GeM's margin are not swept
    # (experiments/records/real_protocols.md).
    config.optim.learning_rate = 1e-4 if config.model.backbone == "vgg16" else 3e-4
    config.loss.contrastive.margin = 0.2  # 0.7 first drives all images apart, positives too
    if (config.model.backbone, config.model.pooling) == ("vgg16", "netvlad"):
        # Descriptors start 1.0 apart: 0.2 first draws them all together, and they part only slowly.
        config.loss.contrastive.margin = 0.7
    config.loss.arcface.class_rate = 10.0  # at this rate, larger values make the class weights jump
    config.train.steps = 100
    config.model.stage = base.STRIDE_16[config.model.backbone]  # a 128x64 image leaves an 8x4 map
    base.fit_heads(config)
    if config.loss.name == "arcface":
        _arcface(config)
    if config.model.backbone != "vgg16":
        _tune(config)
    elif (config.model.pooling, config.loss.name) == ("netvlad", "triplet"):
        _tune_vgg16(config)
    return config


def _arcface(config) -> None:
    """A class is one frame in both seasons; VGG16 + NetVLAD keeps the base's classes and softmax."""
    if (config.model.backbone, config.model.pooling) == ("vgg16", "netvlad"):
        return
    config.places.update(cell=1.0, min_images=2, batch_places=16, images_per_place=2)  # 32 images
    # At scale 30 whitened descriptors soon separate, and the loss is 0 long before the two seasons of a
    # place are near each other.
    config.loss.arcface.update(scale=8.0, margin=0.1)
    config.model.update(projection=512, projection_start="pca_whitened")


def _tune(config) -> None:
    """Sets what single runs of MobileNetV2 on `nordland_tune` chose; VGG16 costs too much for them."""
    config.train.steps = 1000
    config.augment.mirror = True
    config.optim.ema = 0.99
    if config.loss.name == "triplet":  # 48 images per step
        config.tuples.update(batch=8, negatives=4, in_batch="hardest")
        if config.model.backbone.startswith("resnet50"):
            # From random values a winter image is nearer to its negatives than to its summer image. With
            # frozen statistics all descriptors then fall into one point.
            # Pretrained weights keep theirs: --config.model.batch_norm=frozen.
            config.model.batch_norm = "train"
        elif config.model.pooling == "gem":
            # The nearest negatives, nearer than the positive, draw all descriptors into one point here too.
            config.tuples.mining = "semi_hard"
        elif config.model.pooling == "netvlad":
            # It is the best on `nordland_tune_wide` at every tolerance; VGG16 loses by it there.
            config.eval.update(pca=512, pca_whiten=True)
    if config.loss.name in ("multi_similarity", "circle", "supcon"):  # 48 images per step
        # A place is one frame in both seasons.
        config.places.update(cell=1.0, min_images=2, batch_places=24, images_per_place=2)
    if config.loss.name == "contrastive":  # 28 images; 4 tuples of 5 negatives do as well
        config.tuples.update(batch=7, negatives=2)
    if config.loss.name == "arcface":
        if config.model.backbone == "mobilenetv2":
            # GeM's descriptors fall together at 3e-3, those of a ResNet50 from random values at 1e-3.
            config.optim.learning_rate = 1e-3
        config.train.steps = 1122
    if (config.model.backbone, config.model.pooling) == ("mobilenetv2", "gem"):
        _keep(config)
    if (config.model.backbone, config.model.pooling) == ("mobilenetv2", "flatten"):
        # A train's camera never turns: what lies where in the image says most. A 128x64 image leaves a
        # 16x8 map, 24,576 numbers. block_3_expand and 300 steps are as good on `nordland_tune_wide`.
        # --config.eval.blend=0.5 costs half a point there and keeps what the model knew elsewhere.
        config.model.stage = "block_6_expand"
        config.train.steps = 800


def _keep(config) -> None:
    """Sets keep images, by which a model forgets least of other sets (experiments/records/forgetting.md).

    `nordland_tune` and the rendered sets chose them. ArcFace forgets less, and keeps nothing.
    """
    base.keep_rendered(config)
    if config.keep.images:
        config.train.steps = 500


def _tune_vgg16(config) -> None:
    """Sets VGG16 + NetVLAD with triplet: MobileNetV2's batches, the best of ten on the wide tune."""
    config.optim.learning_rate = 5e-5
    config.train.steps = 200
    config.tuples.update(batch=8, negatives=4, in_batch="hardest")  # 48 images per step
    config.augment.mirror = True
    config.optim.ema = 0.97
