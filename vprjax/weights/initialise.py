"""The untrained (off-the-shelf) model: random or pretrained weights, then what training images set."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from vprjax import models
from vprjax.descriptors import whitening
from vprjax.models.heads import HEADS
from vprjax.models.heads.variant import RegionStart
from vprjax.models.heads.vectors import l2_normalize
from vprjax.weights import kmeans, pretrained

LOCAL_DESCRIPTORS = 50_000  # the fewest that NetVLAD's k-means sees, if the images have them
CALIBRATION_IMAGES = 256
CALIBRATION_BATCH = 32
CONVOLUTION_IMAGES = 32
PROJECTION_IMAGES = 4096  # the most that fit PCA


def initialise(
    model_config,
    loaded: dict | None,
    seed: int,
    images_at: Callable[[np.ndarray], np.ndarray],
    count: int,
) -> tuple[dict, list[str]]:
    """Returns the model's variables before training, and sentences on their sources.

    The backbone takes pretrained weights where there are any. Random ones need training images: they set
    BatchNorm's statistics, which must fit the random convolutions, or scale convolutions without BatchNorm.
    NetVLAD starts from k-means on local descriptors of training images, a projection from PCA.

    Args:
      model_config: the `model` section.
      loaded: the result of `pretrained.load` or `released.load.start_of`, or None for random weights.
      seed: the seed of the random weights and of the choice of images.
      images_at: `(m,)` indices -> uint8 `(m, h, w, 3)` training images.
      count: number of training images.

    Raises:
      WeightsError: the weights do not fit the backbone.
      ValueError: the images are too few for k-means or PCA.
    """
    order = np.random.default_rng((seed, 5)).permutation(count)
    sample = jnp.asarray(images_at(order[:1]))
    made = jax.jit(models.build(model_config).init)(jax.random.key(seed), sample)
    variables, notes = _backbone(
        model_config, jax.tree.map(np.asarray, made), loaded, images_at, order
    )
    if loaded is not None and "head" in loaded:
        return {**variables, "params": {**variables["params"], **loaded["head"]}}, notes
    for part in (_head, _projection):
        variables, said = part(model_config, variables, seed, images_at, order)
        notes += said
    return variables, notes


def _backbone(
    model_config,
    variables: dict,
    loaded: dict | None,
    images_at: Callable[[np.ndarray], np.ndarray],
    order: np.ndarray,
) -> tuple[dict, list[str]]:
    """Sets the backbone's variables: the loaded weights, or random ones fit to the images in `order`."""
    if loaded is not None:
        notes = [f"weights from {model_config.weights}"]
        if random_layers := pretrained.missing(variables, loaded):
            notes.append(f"still random: {', '.join(random_layers)}")
        partial = model_config.partial_weights
        return pretrained.insert(variables, loaded, partial=partial), notes
    if "batch_stats" in variables:
        images = images_at(order[: _whole_batches(min(len(order), CALIBRATION_IMAGES))])
        variables = calibrate_batch_norm(model_config, variables, images)
        return variables, [
            f"random weights, BatchNorm statistics from {len(images)} training images"
        ]
    images = images_at(order[:CONVOLUTION_IMAGES])
    variables = calibrate_convolutions(model_config, variables, images)
    return variables, [f"random weights, scaled on {len(images)} training images"]


def _head(
    model_config,
    variables: dict,
    seed: int,
    images_at: Callable[[np.ndarray], np.ndarray],
    order: np.ndarray,
) -> tuple[dict, list[str]]:
    """Starts the head's parameters as its file declares."""
    head = HEADS[model_config.pooling]
    if head.start is None:
        return variables, []
    if isinstance(head.start, RegionStart):
        variables, note = start_from_regions(model_config, variables, images_at, order)
        return variables, [f"{head.title} {note}"]
    local = local_descriptors(models.build(model_config), variables, images_at, order)
    variables = start_from_clusters(model_config, variables, local, seed)
    return variables, [f"{head.title} from k-means on {len(local)} local descriptors"]


def _projection(
    model_config,
    variables: dict,
    seed: int,
    images_at: Callable[[np.ndarray], np.ndarray],
    order: np.ndarray,
) -> tuple[dict, list[str]]:
    """Starts the projection as `model.projection_start` asks."""
    if not model_config.projection or model_config.projection_start == "random":
        return variables, []
    if model_config.projection_start == "gaussian":
        return start_gaussian(variables, seed), ["projection from Gaussian random numbers"]
    variables, used = start_projection(model_config, variables, images_at, order)
    return variables, [f"projection from PCA on {used} descriptors"]


def random_head(model_config, loaded: dict | None) -> str:
    """Says in one sentence that an untrained model's head is of random values; "" where it is not."""
    head = HEADS[model_config.pooling]
    if not head.random or "head" in (loaded or {}):
        return ""
    return (
        f"{model_config.weights} gives the backbone alone, and {head.title} is of random values here: "
        "these figures are no trained model's"
    )


def _built(model_config, **changes):
    """Returns the module of the config with these keys changed."""
    config = model_config.copy_and_resolve_references()
    config.update(changes)
    return models.build(config)


def _whole_batches(count: int) -> int:
    """Returns how many of `count` images fill batches of `CALIBRATION_BATCH`, or `count` below one."""
    return count // CALIBRATION_BATCH * CALIBRATION_BATCH or count


def calibrate_batch_norm(model_config, variables: dict, images: np.ndarray) -> dict:
    """Replaces the model's `batch_stats` by the mean statistics over batches of `images`."""
    module = _built(model_config, batch_norm="train", train_from="")

    @jax.jit
    def statistics(variables, images):
        zero = jax.tree.map(jnp.zeros_like, variables["batch_stats"])
        one = jax.tree.map(jnp.ones_like, variables["batch_stats"])

        def updated(start):
            _, new = module.apply(
                {**variables, "batch_stats": start}, images, train=True, mutable=["batch_stats"]
            )
            return new["batch_stats"]

        # new = m old + (1 - m) batch, so two starts give the batch's own without knowing m.
        from_zero, from_one = updated(zero), updated(one)
        return jax.tree.map(lambda a, b: a / (1 - (b - a)), from_zero, from_one)

    batches = np.array_split(images, max(1, len(images) // CALIBRATION_BATCH))
    found = [statistics(variables, jnp.asarray(batch)) for batch in batches]
    mean = jax.tree.map(lambda *leaves: np.mean(np.stack(leaves), axis=0), *found)
    return {**variables, "batch_stats": mean}


def calibrate_convolutions(model_config, variables: dict, images: np.ndarray) -> dict:
    """Scales kernels and biases to give every channel mean 0 and deviation 1 over `images`, before ReLU.

    A deep random network without BatchNorm describes all images nearly alike. Hard negatives then pull
    them together for good.

    Source: Kraehenbuehl et al. 2016, data-dependent initialisation.
    """
    module = _built(
        model_config, remat=False
    )  # values noted inside a remat's trace cannot leave it

    @jax.jit
    def statistics(variables, images):
        found = {}

        def normalised(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if not isinstance(context.module, nn.Conv) or context.method_name != "__call__":
                return out
            mean, deviation = out.mean(axis=(0, 1, 2)), out.std(axis=(0, 1, 2)) + 1e-6
            found["/".join(context.module.path)] = mean, deviation
            return (out - mean.reshape(1, 1, 1, -1)) / deviation.reshape(1, 1, 1, -1)

        with nn.intercept_methods(normalised):
            module.apply(variables, images, method="features")
        return found

    flat = traverse_util.flatten_dict(variables["params"], sep="/")
    for path, (mean, deviation) in statistics(variables, jnp.asarray(images)).items():
        mean, deviation = np.asarray(mean), np.asarray(deviation)
        kernel, bias = flat[f"{path}/kernel"], flat[f"{path}/bias"]
        flat[f"{path}/kernel"] = (kernel / deviation).astype(kernel.dtype)
        flat[f"{path}/bias"] = ((bias - mean) / deviation).astype(bias.dtype)
    return {**variables, "params": traverse_util.unflatten_dict(flat, sep="/")}


def local_descriptors(
    module: Any, variables: dict, images_at: Callable[[np.ndarray], np.ndarray], order: np.ndarray
) -> np.ndarray:
    """Returns L2-normalised local descriptors `(n, d)` of the first images in `order`, 50,000 or more."""
    features = jax.jit(lambda v, x: module.apply(v, x, method="features"))
    collected, number = [], 0
    for first in range(0, len(order), 16):
        local = np.asarray(features(variables, jnp.asarray(images_at(order[first : first + 16]))))
        collected.append(local.reshape(-1, local.shape[-1]))
        number += len(collected[-1])
        if number >= LOCAL_DESCRIPTORS:
            break
    return np.asarray(l2_normalize(jnp.asarray(np.concatenate(collected))))


def start_from_clusters(model_config, variables: dict, local: np.ndarray, seed: int) -> dict:
    """Starts the head's parameters from k-means on local descriptors `(n, d)`.

    Raises:
      ValueError: there are fewer descriptors than clusters.
    """
    name = model_config.pooling
    start = HEADS[name].start
    clusters = model_config[name][start.key]
    clusters += model_config[name][start.more] if start.more else 0
    if len(local) < clusters:
        raise ValueError(
            f"the training images hold {len(local)} local descriptors, fewer than the {clusters} clusters "
            f"of model.{name}.{start.key}; lower it or add training images"
        )
    like = variables["params"]["pooling"]
    parameters = start.parameters(kmeans.kmeans(local, clusters, seed), local)
    head = {key: np.asarray(value, like[key].dtype) for key, value in parameters.items()}
    return {**variables, "params": {**variables["params"], "pooling": {**like, **head}}}


def start_from_regions(
    model_config, variables: dict, images_at: Callable[[np.ndarray], np.ndarray], order: np.ndarray
) -> tuple[dict, str]:
    """Starts the head's linear layer from whitened PCA of the regions of the images in `order`.

    It takes `PROJECTION_IMAGES` images at most. Fewer vectors than channels leave the layer as it is.
    Returns the variables, and a phrase that says which.

    Source: Gordo et al. 2016.
    """
    start, section = HEADS[model_config.pooling].start, model_config[model_config.pooling]
    module = models.build(model_config)

    @jax.jit
    def vectors(variables, images):
        local = module.apply(variables, images, method="features")
        if "local" in model_config.norms:
            local = l2_normalize(local)
        return start.vectors(section, local)

    _, regions, channels = jax.eval_shape(vectors, variables, images_at(order[:1])).shape
    most = max(1, whitening.NUMBERS // (regions * channels))
    used = order[: min(PROJECTION_IMAGES, most)]
    if len(used) * regions <= channels:
        return variables, (
            f"from the identity, as {len(used)} training images have {len(used) * regions} regions, and "
            f"whitening {channels} channels takes more"
        )
    found = np.empty((len(used), regions, channels), np.float32)
    for first in range(0, len(used), 16):
        part = slice(first, first + 16)
        found[part] = vectors(variables, jnp.asarray(images_at(used[part])))
    learned = whitening.learn(found.reshape(-1, channels), channels, True)
    layer = _layer(learned, variables["params"]["pooling"][start.layer])
    pooling = {**variables["params"]["pooling"], start.layer: layer}
    params = {**variables["params"], "pooling": pooling}
    return {**variables, "params": params}, f"from whitened PCA of {len(used) * regions} regions"


def _layer(learned: whitening.Projection, like: dict) -> dict:
    """The linear layer that computes a learned projection, in the types of `like`."""
    layer = {"kernel": learned.kernel, "bias": -learned.mean @ learned.kernel}
    return {key: np.asarray(value, like[key].dtype) for key, value in layer.items()}


def start_gaussian(variables: dict, seed: int) -> dict:
    """Starts the projection from independent normal numbers of variance `1 / dimensions`, without bias.

    Distances stay the same on average, without any training image.

    Source: Dasgupta & Gupta 2003; on AlexNet's conv3 in Suenderhauf et al. 2015.
    """
    like = variables["params"]["projection"]
    kernel = np.random.default_rng((seed, 6)).standard_normal(like["kernel"].shape, np.float32)
    kernel /= np.sqrt(np.float32(kernel.shape[1]))
    projection = {"kernel": kernel, "bias": np.zeros_like(like["bias"])}
    return {**variables, "params": {**variables["params"], "projection": projection}}


def start_projection(
    model_config, variables: dict, images_at: Callable[[np.ndarray], np.ndarray], order: np.ndarray
) -> tuple[dict, int]:
    """Starts the projection's parameters from the principal components of the images in `order`.

    `f -> V^T (f - mean)`, with V the first `model.projection` eigenvectors of the descriptors' covariance.
    "pca_whitened" also divides by the square roots of the eigenvalues.

    Raises:
      ValueError: there are fewer images or dimensions than components.

    Source: Jegou & Chum 2012.
    """
    wanted = model_config.projection
    apply = jax.jit(_built(model_config, projection=0).apply)
    rest = {k: v for k, v in variables["params"].items() if k != "projection"}
    without = {**variables, "params": rest}
    like = jax.eval_shape(apply, without, images_at(order[:1]))
    used = order[: min(PROJECTION_IMAGES, whitening.NUMBERS // like.shape[-1])]
    descriptors = np.empty((len(used), like.shape[-1]), like.dtype)
    for first in range(0, len(used), 16):
        part = slice(first, first + 16)
        descriptors[part] = apply(without, jnp.asarray(images_at(used[part])))
    try:
        learned = whitening.learn(
            descriptors, wanted, model_config.projection_start == "pca_whitened"
        )
    except ValueError as error:
        raise ValueError(
            f"model.projection: {error}; lower it or set model.projection_start='gaussian'"
        ) from error
    projection = _layer(learned, variables["params"]["projection"])
    return {**variables, "params": {**rest, "projection": projection}}, len(descriptors)
