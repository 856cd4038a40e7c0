"""What the untrained model is made of: statistics that fit random weights, NetVLAD from k-means."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from configs import base
from vprjax import models
from vprjax.models.heads import learned_rmac, rmac
from vprjax.weights import initialise


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (96, 32, 48, 3)).astype(np.uint8)


def config(pooling):
    c = base.get_config().model
    c.update(backbone="mobilenetv2", stage="block_1_expand", pooling=pooling)
    c.netvlad.clusters = 4
    return c


def start(images, pooling="gem"):
    return initialise.initialise(config(pooling), None, 0, lambda i: images[i], len(images))


def test_statistics_are_those_of_the_images(images):
    variables, notes = start(images)
    assert "BatchNorm statistics from 96 training images" in notes[0]
    module = models.build(config("gem"))
    _, seen = module.apply(
        variables,
        images,
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: isinstance(module, nn.Conv),  # and BatchNorm in it
    )
    outputs = [np.asarray(x) for x in jax.tree.leaves(seen["intermediates"]["backbone"])]
    assert outputs
    for output in outputs:  # Batch normalised: each channel's mean is 0, its deviation 1.
        np.testing.assert_allclose(output.mean(axis=(0, 1, 2)), 0, atol=0.05)
        np.testing.assert_allclose(output.std(axis=(0, 1, 2)), 1, atol=0.1)


def test_statistics_are_of_all_images_that_are_told(images):
    """100 images make three batches of 32 (not one of 34 and two of 33, of which one size alone counts)."""
    hundred = np.concatenate([images, images[:4]])
    used = []

    def images_at(indices):
        used.append(hundred[indices])
        return used[-1]

    variables, notes = initialise.initialise(config("gem"), None, 0, images_at, 100)
    assert "statistics from 96 training images" in notes[0] and len(used[-1]) == 96
    for part in np.split(used[-1].copy(), 3):
        used[-1][np.flatnonzero((used[-1] == part[0]).all(axis=(1, 2, 3)))] = 0
        other = initialise.calibrate_batch_norm(config("gem"), variables, used[-1])
        same = jax.tree.map(np.array_equal, other["batch_stats"], variables["batch_stats"])
        assert not all(jax.tree.leaves(same))
        variables = other


def test_remat_starts_from_the_same_model(images):
    def started(remat):
        c = config("gem")
        c.update(backbone="vgg16", stage="conv2", remat=remat)
        return initialise.initialise(c, None, 0, lambda i: images[i], len(images))[0]

    jax.tree.map(np.testing.assert_array_equal, started(True), started(False))


def test_convolutions_without_batch_norm_fit_the_images(images):
    c = config("gem")
    c.update(backbone="vgg16", stage="conv3")
    variables, notes = initialise.initialise(c, None, 0, lambda i: images[i], len(images))
    assert notes == ["random weights, scaled on 32 training images"]
    module = models.build(c)
    order = np.random.default_rng((0, 5)).permutation(96)[:32]
    _, seen = module.apply(
        variables,
        images[order],
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: isinstance(module, nn.Conv),
    )
    outputs = [np.asarray(x) for x in jax.tree.leaves(seen["intermediates"]["backbone"])]
    assert len(outputs) == 7
    for output in outputs:
        np.testing.assert_allclose(output.mean(axis=(0, 1, 2)), 0, atol=1e-3)
        np.testing.assert_allclose(output.std(axis=(0, 1, 2)), 1, atol=1e-3)


def test_the_same_seed_gives_the_same_bits(images):
    first, again = (start(images, "netvlad")[0] for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_netvlad_starts_from_k_means_of_the_local_descriptors(images):
    variables, notes = start(images, "netvlad")
    head = variables["params"]["pooling"]
    local = models.build(config("netvlad")).apply(variables, images, method="features")
    local = np.asarray(local, np.float64).reshape(-1, local.shape[-1])
    local = local / np.linalg.norm(local, axis=1, keepdims=True)
    assert f"k-means on {len(local)} local descriptors" in notes[-1]
    centers = np.asarray(head["centers"], np.float64)
    squared = np.sort(((local[:, None] - centers[None]) ** 2).sum(axis=-1), axis=1)
    best = KMeans(4, n_init=5, random_state=0).fit(local).inertia_
    assert squared[:, 0].sum() < 1.02 * best
    alpha = np.log(100) / (squared[:, 1] - squared[:, 0]).mean()
    np.testing.assert_allclose(head["weights"], 2 * alpha * centers, rtol=1e-3)
    np.testing.assert_allclose(head["biases"], -alpha * (centers**2).sum(axis=1), rtol=1e-3)


def test_k_means_leaves_a_heads_other_parameters():
    local = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    zeros, filters = np.zeros((4, 6), np.float32), {"kernel": np.ones((3, 3, 6, 32))}
    head = {"weights": zeros, "biases": zeros[:, 0], "centers": zeros, "context3": filters}
    c = config("crn")
    c.crn.clusters = 4
    found = initialise.start_from_clusters(c, {"params": {"pooling": head}}, local, 0)
    found = found["params"]["pooling"]
    assert found["context3"] is filters and found.keys() == head.keys()
    assert found["weights"].any() and found["centers"].any()


def test_fewer_local_descriptors_than_clusters_are_refused(images):
    c = config("netvlad")
    c.netvlad.clusters = 64
    with pytest.raises(ValueError, match=r"fewer than the 64 clusters of model\.netvlad\.clusters"):
        initialise.initialise(c, None, 0, lambda i: images[i][:, :4, :4], 2)


@pytest.mark.parametrize("how", ["pca", "pca_whitened"])
def test_a_projection_starts_from_principal_components(images, how):
    c = config("gem")
    before = models.build(c).apply(start(images)[0], images)
    c.update(projection=5, projection_start=how)
    variables, notes = initialise.initialise(c, None, 0, lambda i: images[i], len(images))
    assert notes[-1] == "projection from PCA on 96 descriptors"
    found = models.build(c).apply(variables, images)
    # sklearn divides by n - 1 where we divide by n, which normalising takes away again.
    wanted = PCA(5, whiten=how == "pca_whitened", svd_solver="full").fit_transform(
        np.asarray(before, np.float64)
    )
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=2e-3)  # signs are free
    c.projection = 97
    with pytest.raises(ValueError, match="97 components need more than 97 training images"):
        initialise.initialise(c, None, 0, lambda i: images[i], len(images))


def test_a_wide_projection_starts_from_as_many_images_as_memory_allows(images, monkeypatch):
    c = config("netvlad")
    c.update(projection=3)
    learnt_from = []
    learn = initialise.whitening.learn
    monkeypatch.setattr(initialise.whitening, "NUMBERS", 10 * 4 * 96)  # 4 clusters x 96 channels
    monkeypatch.setattr(
        initialise.whitening,
        "learn",
        lambda x, *rest: learnt_from.append(x.shape) or learn(x, *rest),
    )
    initialise.initialise(c, None, 0, lambda i: images[i], len(images))
    assert learnt_from == [(10, 4 * 96)]


def test_a_gaussian_projection_keeps_distances_and_needs_no_images(images):
    c = config("flatten")
    before = models.build(c).apply(start(images, "flatten")[0], images)
    c.update(projection=512, projection_start="gaussian")
    variables, notes = initialise.initialise(c, None, 0, lambda i: images[i], len(images))
    assert notes[-1] == "projection from Gaussian random numbers"
    kernel = variables["params"]["projection"]["kernel"]
    assert kernel.shape == (before.shape[1], 512) and kernel.dtype == np.float32
    np.testing.assert_allclose(kernel.std() * np.sqrt(512), 1, atol=0.01)
    assert not variables["params"]["projection"]["bias"].any()
    again, _ = initialise.initialise(c, None, 0, lambda i: images[i], len(images))
    np.testing.assert_array_equal(kernel, again["params"]["projection"]["kernel"])
    other, _ = initialise.initialise(c, None, 1, lambda i: images[i], len(images))
    assert (kernel != other["params"]["projection"]["kernel"]).any()
    long, short = np.asarray(before @ before.T), np.asarray((f := before @ kernel) @ f.T)
    np.testing.assert_allclose(short, long, atol=5 / np.sqrt(512))


def test_learned_rmac_starts_from_whitened_regions(images):
    """Its whitened regions have mean 0 and covariance 1, as sklearn's have."""
    c = config("learned_rmac")
    variables, notes = initialise.initialise(c, None, 0, lambda i: images[i], len(images))
    module = models.build(c)
    local = module.apply(variables, images, method="features")
    regions = np.asarray(learned_rmac.region_vectors(local, 3), np.float64)
    count = regions.shape[0] * regions.shape[1]
    assert notes[-1] == f"Learned R-MAC from whitened PCA of {count} regions"
    layer = variables["params"]["pooling"]["whiten"]
    found = regions.reshape(count, -1) @ layer["kernel"] + layer["bias"]
    wanted = PCA(whiten=True, svd_solver="full").fit_transform(regions.reshape(count, -1))
    strong = wanted.shape[1] // 2  # small variances are held up
    scale = np.sqrt(count / (count - 1))
    np.testing.assert_allclose(
        np.abs(found[:, :strong]), np.abs(wanted[:, :strong]) * scale, atol=5e-2
    )
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-2)


def test_learned_rmac_with_too_few_regions_is_rmac_and_says_so(images):
    c = config("learned_rmac")
    variables, notes = initialise.initialise(c, None, 0, lambda i: images[i], 1)
    assert "from the identity, as 1 training images have" in notes[-1]
    x = np.random.default_rng(0).random((1, 5, 9, 96)).astype(np.float32)
    params = {"params": variables["params"]["pooling"]}
    found = learned_rmac.LearnedRMAC(3).apply(params, x)
    np.testing.assert_allclose(found, rmac.rmac(x), rtol=1e-5)
