"""Every key of a vprjax config, its meaning and its default.

A dataset's config (`configs/synthetic.py`, `configs/robotcar.py`, ...) starts from `get_config()` here
and changes what the dataset needs. On the command line a comma list picks the study's cell, and a flag
sets a single key:

    python -m vprjax.main --config=configs/robotcar.py:resnet50,gem,arcface --config.train.steps=2000

The config is locked: it refuses a key that is not listed here, with the nearest right name.
`vprjax/config/ranges.py` holds the range of every key. A config file is code that the command runs: use
none that you do not trust.
"""

from ml_collections import ConfigDict

from vprjax.losses import LOSSES
from vprjax.models import USUAL_NORMS, backbones
from vprjax.models.heads import HEADS
from vprjax.retrieval.baselines import BASELINES
from vprjax.variants import defaults

BACKBONES = tuple(backbones.BACKBONES)
POOLINGS = tuple(HEADS)
# The stage per backbone for images of height 64, whose map is 1/16 of the image; "" is the last.
STRIDE_16 = {name: b.cut_for.get(64, "") for name, b in backbones.BACKBONES.items()}
# Weights of the keep images, in proportion to what each loss pulls.
KEEP_WEIGHT = {"triplet": 300.0, "contrastive": 30.0}


def get_config() -> ConfigDict:
    """Returns the base config, locked."""
    config = ConfigDict()
    config.seed = 0
    config.dataset = _dataset()
    config.others = _others()
    config.model = _model()
    config.loss = _loss()
    config.tuples = _tuples()
    config.places = _places()
    config.augment = _augment()
    config.optim = _optim()
    config.keep = _keep()
    config.train = _train()
    config.validation = _validation()
    config.baseline = _baseline()
    config.eval = _eval()
    return config.lock()


def select(config: ConfigDict, names: str) -> ConfigDict:
    """Applies a comma list such as `"resnet50,gem,arcface"`: each name sets the key that knows it.

    Raises:
      ValueError: a name is unknown, or a baseline, which is no network, stands beside others.
    """
    given = [*filter(None, names.split(","))]
    for name in given:
        if name in BACKBONES:
            config.model.backbone = name
        elif name in POOLINGS:
            config.model.pooling = name
        elif name in LOSSES:
            config.loss.name = name
        elif name in BASELINES:
            config.baseline.name = name
        else:
            known = ", ".join((*BACKBONES, *POOLINGS, *LOSSES, *BASELINES))
            raise ValueError(f"unknown name {name!r} after the config's colon; known: {known}")
    if len(given) > 1 and (found := [name for name in given if name in BASELINES]):
        raise ValueError(
            f"baseline {found[0]!r} is no network and stands alone after the config's colon, not as in "
            f"{names!r}"
        )
    if not backbones.BACKBONES[config.model.backbone].class_token:
        config.model.salad.token_dim = 0  # SALAD without a class token is its clusters alone
    return config


def fit_heads(config: ConfigDict) -> None:
    """Sets the heads of released models for small images, whose map has few positions."""
    model = config.model
    model.salad.clusters = 16  # fewer than the map's positions
    if model.pooling == "gem_linear":  # CosPlace's head: L2, GeM, linear layer, L2
        model.norms = ("local", "pooled")
        model.gem_linear.dimension = 512


def keep_rendered(config: ConfigDict) -> None:
    """Keeps what the untrained model tells apart in a rendered town and in rendered rooms.

    A run builds the two datasets where they are missing. Losses without a chosen weight keep nothing.
    """
    if config.loss.name in KEEP_WEIGHT:
        images = ("synthetic/default:train", "synthetic/rooms:train")
        config.keep.update(images=images, weight=KEEP_WEIGHT[config.loss.name])


def _dataset() -> ConfigDict:
    c = ConfigDict()
    c.name = ""  # builder/config, e.g. "places_csv/nordland"; a final ":1.0.0" names the version
    c.data_dir = ""  # folder of built datasets; "" is $TFDS_DATA_DIR, else ~/tensorflow_datasets
    c.train_splits = ("train",)
    c.reference_split = "reference"
    c.query_splits = ("test01", "test02")  # () trains alone, on data without queries
    c.position_unit = "m"  # name of one unit of `position`; tables print it
    c.tolerances = (25.0, 10.0, 5.0, 2.0)  # FCM tolerances tau, in position units, widest first
    return c


def _others() -> ConfigDict:
    """Further datasets to train on, with the home dataset; validation and evaluation are the home's.

    Positives and negatives of a tuple, and the places of a batch, are of one dataset. Each key holds one
    value per dataset; () takes the home's value.
    """
    c = ConfigDict()
    c.names = ()  # "NAME:SPLIT" or "NAME:SPLIT,SPLIT" each; images as large as the home's
    c.weights = ()  # each one's share of the tuples or batches; the home dataset has the rest
    c.positive_radius = ()  # in its own position units, as in `tuples`
    c.negative_radius = ()
    c.other_visit_seconds = ()
    c.cell = ()  # as in `places`
    return c


def _model() -> ConfigDict:
    c = ConfigDict()
    c.backbone = "mobilenetv2"  # one of BACKBONES
    c.stage = ""  # the stage that feeds the head, e.g. "conv4"; "" is the backbone's last
    # The first stage that trains; earlier ones stay frozen. "" trains all, "head" none of the backbone.
    c.train_from = ""
    c.batch_norm = "frozen"  # "frozen" keeps the weights' statistics, "train" uses the batch's
    c.weights = ""  # file or hub id of pretrained weights; "" starts from random values
    c.released = (
        ""  # the released model that configs/released.py names; `weights` should be its file
    )
    c.partial_weights = (
        False  # accept weights that cover part of the backbone; the rest stays random
    )
    c.pooling = "gem"  # one of POOLINGS
    c.update(defaults(HEADS))  # keys of one head alone, `model.gem.p`: vprjax/models/heads/
    # Where L2 lengths become 1: "local" (each local descriptor before pooling), "pooled", "descriptor"
    # (behind the projection). Released models leave out some.
    c.norms = USUAL_NORMS
    # Sizes of an image, relative to its own, that one descriptor joins: retrieval networks are tested at
    # (1.0, 0.7071, 0.5). Training steps see its own size alone.
    c.scales = (1.0,)
    c.scales_power = (
        1.0  # of the power mean over them; GeM's p where no projection follows the pooling
    )
    c.projection = 0  # dimensions of a linear layer after pooling; 0 is no layer
    # "pca" or "pca_whitened" of training descriptors; "gaussian" keeps distances on average; or "random"
    c.projection_start = "pca"
    # "bfloat16" computes the backbone in bfloat16; the head stays float32. Recent NVIDIA GPUs multiply
    # a float32 backbone in TF32, unless JAX_DEFAULT_MATMUL_PRECISION=highest is in the environment.
    c.compute_dtype = "float32"
    # Rank of low-rank additions (LoRA) to all dense layers of a transformer, which alone train beside the
    # head; they start at zero, and merge into the kernels where the model is used. 0 trains all.
    c.lora_rank = 0
    c.remat = False  # keeps a stage's input alone and computes the stage again: memory for time
    return c


def _loss() -> ConfigDict:
    c = ConfigDict()
    c.name = "triplet"  # one of LOSSES
    c.update(defaults(LOSSES))  # keys of one loss alone, `loss.triplet.margin`: vprjax/losses/
    return c


def _tuples() -> ConfigDict:
    """Training tuples (query, positive, negatives): triplet, contrastive and ArcFace `pair`."""
    c = ConfigDict()
    c.batch = 4  # tuples per step, over all devices
    c.negatives = 5  # mined negatives per tuple; 0 leaves them to in_batch
    # "hardest" or "semi_hard" adds negatives from all images of the step. The query's own mined ones are
    # among them: where they are the hardest of all, they count twice.
    c.in_batch = "off"
    c.in_batch_negatives = 5  # added negatives per query
    c.positive_radius = 10.0  # position units
    c.negative_radius = 25.0  # position units; nearer images are never negatives
    # A positive looks the query's way, within these degrees; an image that does not is another place and
    # may be a negative at any distance. 0, or a training image without heading, ignores heading.
    c.heading_degrees = 90.0
    # > 0: a positive comes from another visit: another sequence, or one across a pause of these seconds.
    c.other_visit_seconds = 0.0
    # "hard" takes the nearest negatives by cached descriptors. "semi_hard" takes the nearest of those
    # farther than the positive, and does not collapse where positives are harder than negatives.
    c.mining = "hard"  # or "semi_hard", "random"
    # "best" takes the positive nearest in descriptor space (the paper). Where visits in different light
    # train together, it lies in the nearest light. "random", and random mining, take any positive.
    c.positive = "best"
    # "to_untrained" pushes a negative away only while it is nearer to its query than the untrained model
    # has it: what that model tells apart already stays where it is. Triplet and contrastive alone.
    c.push = "always"
    c.mining_interval = 100  # steps between two rounds of extraction and mining
    # Training images that mining looks at per round; 0 is all. Mining adds the queries and up to 3
    # positives of each; it looks at further positives only where they are in the pool.
    c.mining_pool = 0
    # Hard-negative memory: negatives of a query's last tuple that its next tuple may use beside the pool.
    # mining="random" uses none.
    c.remembered = 0
    return c


def _places() -> ConfigDict:
    """P x K batches for losses on places: cell (floor(E/M), floor(N/M), floor(heading/a))."""
    c = ConfigDict()
    # "cell" cuts the route by the keys below; "label" takes a place per label and, where labels are
    # CITY/PLACE, each batch from one city.
    c.by = "cell"
    c.cell = 10.0  # M, position units
    c.heading_degrees = 60.0  # a, reduced where it does not divide 360; 0 ignores heading
    c.groups = 2  # neighbouring cells go to different groups along each axis; 1 is a single group
    c.min_images = 4  # fewest images of a place that trains
    c.batch_places = 8  # P, over all devices
    c.images_per_place = 4  # K
    return c


def _augment() -> ConfigDict:
    """Augmentation on the device, a function of (seed, step); 0 turns a part off.

    Each image draws its own values between 0 and these, `vprjax/data/transforms.py` has the formulas.
    """
    c = ConfigDict()
    c.crop = 0.0  # largest share cropped from the sides; the rest is scaled back
    c.mirror = (
        False  # mirrors all images of a tuple; not ArcFace's, where a mirror shows another place
    )
    c.brightness = 0.0  # +- share of the range
    c.contrast = 0.0  # +- share
    c.noise = 0.0  # standard deviation, in grey levels
    c.perspective = 0.0  # largest move of a corner, as a share of its side
    c.rotate = 0.0  # largest turn, in degrees
    c.hue = 0.0  # largest turn of the colours, as a share of the full circle
    c.saturation = 0.0  # +- share
    c.grey = 0.0  # probability of a grey picture
    c.blur = 0.0  # largest standard deviation of a Gaussian blur, in pixels
    c.erase = 0.0  # largest share of the image under one rectangle of its mean colour
    return c


def _optim() -> ConfigDict:
    c = ConfigDict()
    c.name = "adamw"  # or "sgd" (with momentum)
    c.learning_rate = 1e-5
    c.weight_decay = 1e-4
    c.momentum = 0.9  # sgd only
    c.warmup_steps = 50
    c.clip_norm = 1.0  # global gradient norm; 0 is off
    c.head_rate = 10.0  # learning-rate multiplier of the head and the projection
    # Multiplies the rate of a backbone's stage per stage above it: 0.7 gives the last stage 1, the one
    # before 0.7, then 0.49. A vision transformer's stages are its blocks. 1 is off.
    c.depth_rate = 1.0
    # Stages that `model.train_from` freezes and the run releases: ((300, "block_6"), (600, "")) trains from
    # block_6 on after 300 steps, and all after 600.
    c.release = ()
    # Pull of the parameters to their start (L2-SP), decoupled as weight_decay is; GeM's p and class
    # weights stay free. 0 is off.
    c.keep_start = 0.0
    c.ema = 0.0  # decay of the parameters' running mean, which evaluation then takes; 0 is off
    return c


def _keep() -> ConfigDict:
    """What training keeps of the untrained model: the cosines between its descriptors of images."""
    c = ConfigDict()
    # Images without labels, none of which trains a place: "NAME:SPLIT" or "NAME:SPLIT,SPLIT" of prepared
    # datasets, all of one size, which may differ from the training images'.
    c.images = ()
    c.batch = 16  # keep images per step, over all devices
    c.weight = 0.0  # of the mean squared change of cosines on the keep images; 0 is off
    c.batch_weight = 0.0  # the same on the training images of a step; 0 is off
    return c


def _train() -> ConfigDict:
    c = ConfigDict()
    c.steps = 1000
    c.accumulate = 1  # parts of a device's batch, computed one after the other to save memory
    c.log_every = 10
    c.checkpoint_every = 200
    c.keep_checkpoints = 3
    return c


def _validation() -> ConfigDict:
    """Validation during training; evaluation takes the checkpoint of the highest mean FCM."""
    c = ConfigDict()
    # Steps between two validations; the last step has one too. 0 never validates, and evaluation takes
    # the last checkpoint.
    c.every = 0
    c.query_split = ""  # a split that is matched to reference_split; "" takes the held-out segment
    c.reference_split = ""
    c.stretch = 0.1  # held-out segment: last share of the first training split's route
    c.patience = 0  # validations without a better one after which training stops; 0 never stops
    return c


def _baseline() -> ConfigDict:
    """A method that is no network, which --mode=evaluate measures in the model's place."""
    c = ConfigDict()
    c.name = ""  # one of vprjax.retrieval.baselines.BASELINES; "" evaluates the model
    c.update(defaults(BASELINES))  # keys of one baseline alone: vprjax/retrieval/baselines/
    return c


def _eval() -> ConfigDict:
    c = ConfigDict()
    c.batch = 64  # images per step of extraction, over all devices; halved where it does not fit
    c.recalls = (1, 5, 10, 20)
    c.recall_radius = 0.0  # position units; 0 is the widest tolerance
    c.heading_degrees = (
        0.0  # > 0: a match must also look the same way, within these degrees; 0 ignores heading
    )
    c.pca = 0  # dimensions that PCA, fit on training descriptors, keeps before matching; 0 is off
    c.pca_whiten = False  # divides the components by their deviations
    # Post-processing for figures alone, after PCA; localization answers without it. "sets" standardises
    # references and queries by their own mean and deviation, "clusters" inside clusters of each.
    c.standardise = ""
    c.query_expansion = 0  # nearest references that a query is averaged with (alpha-QE); 0 is off
    c.database_augmentation = 0  # nearest references that a reference is averaged with; 0 is off
    c.expansion_power = 3.0  # alpha: weights of both are cosine^alpha; 0 is the plain average
    c.sequence_length = 0  # > 1: also matches sequences of this length (SeqSLAM); 0 is off
    # > 0: searches in two stages. Hashes of rerank_bits bits choose so many references per query, and the
    # descriptors put these in order; the results set an exact search beside it. 0 searches exactly.
    c.rerank = 0
    c.rerank_bits = 512  # a multiple of 32
    c.search_scan = (
        "auto"  # or a scan method: "float32", "bfloat16", "int8", "pruned": the same neighbours
    )
    c.search_memory = 2.0  # GiB that a search may take for its blocks
    c.descriptor_dtype = "float32"  # type of the descriptors on disk; or "bfloat16", "float16"
    # Keeps them in WORKDIR/descriptors, where a later evaluation finds those of the same images and model:
    # a map's, under new queries. Else the end removes them.
    c.keep_descriptors = False
    # Other prepared datasets that every result shows beside its own, before and after training.
    # vprjax/evaluation/elsewhere.py says which of their splits, tolerances and headings count.
    c.other_datasets = ()
    # Their tolerances, one tuple per name, () for the dataset's own; () for all takes each one's own.
    c.other_tolerances = ()
    # Evaluation takes (1 - a) * untrained + a * fine-tuned parameters: "off" (a = 1), a as a text such as
    # "0.35", or "auto": the a of the highest mean of FCM on validation and on keep_dataset.
    c.blend = "off"
    c.blend_runs = ()  # workdirs of further runs from the same start: fine-tuned is then their mean
    c.blend_weights = ()  # in that mean, this run's first; () is equal
    c.keep_dataset = ""  # a prepared dataset for blend="auto"; "" counts validation alone
    c.keep_tolerances = ()  # of keep_dataset; () takes its own
    return c
