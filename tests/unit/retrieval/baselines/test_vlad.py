"""VLAD's sums, its vocabulary's limits, and dense SIFT against loops."""

import tracemalloc

import cv2
import numpy as np
import pytest

from tests.helpers.baselines import picture, places, settings
from vprjax.errors import ConfigError
from vprjax.retrieval.baselines import BASELINES, dense_vlad, vlad, vlad_sift, vocabulary


def test_vlad_is_the_sum_of_residuals(monkeypatch):
    monkeypatch.setattr(vlad, "ROWS", 7)
    rng = np.random.default_rng(0)
    local, centres = rng.uniform(size=(30, 6)), rng.uniform(size=(4, 6))
    sums = np.zeros((4, 6))
    for x in local:
        k = np.argmin(((x - centres) ** 2).sum(axis=1))
        sums[k] += x - centres[k]
    sums = np.array([s / np.linalg.norm(s) if s.any() else s for s in sums])
    found = vlad.encode(local.astype(np.float32), centres.astype(np.float32))
    assert np.abs(found - (sums / np.linalg.norm(sums)).ravel()).max() < 1e-5


def test_descriptors_on_their_word_add_nothing():
    """The mean of three twins in float32 is not the twin, and its rounding is no residual."""
    rng = np.random.default_rng(0)
    twin, other, word = (
        x / np.linalg.norm(x) for x in rng.uniform(size=(3, 128)).astype(np.float32)
    )
    mean = (twin + twin + twin) / np.float32(3)
    assert (mean != twin).any()
    for count in (1, 50):
        found = vlad.encode(np.stack([twin] * count + [other]), np.stack([mean, word]))
        assert not found[:128].any() and np.linalg.norm(found[128:]) == pytest.approx(1, abs=1e-5)


def test_rootsift_has_length_1_and_the_square_is_the_share():
    found = vocabulary.root(np.array([[4.0, 0, 12], [0, 0, 0]], np.float32))
    assert found == pytest.approx(np.array([[0.5, 0, np.sqrt(0.75)], [0, 0, 0]]))


def test_an_image_without_a_keypoint_has_a_zero_descriptor():
    flat, own = np.full((60, 80, 3), 50, np.uint8), settings("vlad_sift")
    state = {"centres": np.ones((3, 128), np.float32)}
    assert vlad_sift.local(flat, own).shape == (0, 128)
    projected = state | {"mean": np.zeros(384), "kernel": np.ones((384, 5), np.float32)}
    for kept, size in ((state, 384), (projected, 5)):
        found = BASELINES["vlad_sift"].describe(flat, kept, own)
        assert found.shape == (size,) and not found.any()
    words = BASELINES["fabmap"].describe(flat, state, settings("fabmap"))
    assert words.shape == (3,) and not words.any()


@pytest.mark.parametrize(
    ("name", "lacks", "advice"),
    [
        ("vlad_sift", "keypoint", ", or lower baseline.vlad_sift.contrast"),
        ("fabmap", "keypoint", ", or lower baseline.fabmap.contrast"),
        ("dense_vlad", "edge", ""),
    ],
)
def test_training_images_that_show_nothing_are_refused(name, lacks, advice):
    blank = places(np.full((3, 60, 80, 3), 50, np.uint8))
    words = f"baseline.{name} finds no {lacks} in any of the 3 training images"
    with pytest.raises(ConfigError, match=words) as refused:
        BASELINES[name].fit(blank, settings(name), 0)
    assert str(refused.value).endswith(f"name others in dataset.train_splits{advice}")


@pytest.mark.parametrize("name", ["vlad_sift", "dense_vlad", "fabmap"])
def test_a_vocabulary_larger_than_the_features_is_refused(monkeypatch, name):
    monkeypatch.setattr(vocabulary, "kmeans", lambda *_: pytest.fail("k-means began"))
    one = places(np.stack([picture(1)]))
    few = settings(name, words=50_000, **({"step": 16} if name == "dense_vlad" else {}))
    with pytest.raises(
        ConfigError,
        match=rf"baseline\.{name}\.words=50000 is more than the \d+ local descriptors of the 1",
    ):
        BASELINES[name].fit(one, few, 0)


def test_a_fit_whitens_where_images_suffice_and_says_where_not():
    some = places(np.stack([picture(i, (60, 80)) for i in range(12)]))
    own = settings("vlad_sift", words=4, dimensions=6)
    state, notes = BASELINES["vlad_sift"].fit(some, own, 0)
    assert state["centres"].shape == (4, 128) and state["kernel"].shape == (512, 6) and not notes
    found = BASELINES["vlad_sift"].describe(picture(0, (60, 80)), state, own)
    assert found.shape == (6,) and np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    own.dimensions = 12
    state, notes = BASELINES["vlad_sift"].fit(some, own, 0)
    assert "kernel" not in state
    assert notes == [
        "baseline.vlad_sift.dimensions=12 takes more than 12 training images, so all 512 dimensions stay, "
        "without whitening"
    ]


def test_training_images_of_one_view_have_no_components():
    """Ten equal rows have a mean that rounding sets apart from them."""
    twins = places(np.stack([picture(0, (60, 80))] * 10))
    words = r"baseline\.vlad_sift\.dimensions=3: all training descriptors are the same"
    with pytest.raises(ConfigError, match=words):
        BASELINES["vlad_sift"].fit(twins, settings("vlad_sift", words=4, dimensions=3), 0)


def test_the_sample_is_a_function_of_the_seed_and_bounded():
    some = places(np.stack([picture(i) for i in range(3)]))

    def local(image):
        return np.arange(40, dtype=np.float32).reshape(20, 2) + image[0, 0, 0]

    first, again, other = (vocabulary.sample(local, some, 10, seed) for seed in (0, 0, 1))
    assert first.shape == (10, 2) and (first == again).all() and (first != other).any()


def test_a_sample_keeps_few_images_local_descriptors_in_memory():
    drive = places(np.stack([picture(size=(8, 8))] * 40))
    tracemalloc.start()
    try:
        found = vocabulary.sample(lambda image: np.ones((2048, 128), np.float32), drive, 40, 0)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20  # an image's take 1 MiB
    finally:
        tracemalloc.stop()
    assert found.shape == (40, 128)


@pytest.mark.parametrize(("most", "shares"), [(3, [0, 2, 5]), (8, [0, 1, 2, 2, 3, 4, 5, 5])])
def test_a_small_sample_comes_from_the_whole_drive(most, shares):
    drive = places(np.stack([np.full((2, 4, 3), i, np.uint8) for i in range(6)]))
    found = vocabulary.sample(lambda image: image[0, :, :1].astype(np.float32), drive, most, 0)
    assert found[:, 0].tolist() == shares


def looped_dense(grey, width, step):
    """SIFT at each place of the grid, bin by bin, in float64 on the smoothed image."""
    smooth = np.sqrt(max((width / 6) ** 2 - 0.25, 0))
    image = grey.astype(np.float32)
    if smooth > 0.1:
        image = cv2.GaussianBlur(image, (0, 0), smooth, borderType=cv2.BORDER_REPLICATE)
    down, across = np.gradient(image.astype(np.float64))
    strength, angle = np.hypot(across, down), np.arctan2(down, across) / (2 * np.pi) * 8 % 8
    h, w = grey.shape
    out = []
    for top in range(0, h - 3 * width, step):
        for left in range(0, w - 3 * width, step):
            one = np.zeros((4, 4, 8))
            for i in range(4):
                for j in range(4):
                    cy, cx = top + i * width, left + j * width
                    for y in range(max(0, cy - width + 1), min(h, cy + width)):
                        for x in range(max(0, cx - width + 1), min(w, cx + width)):
                            weight = (1 - abs(y - cy) / width) * (1 - abs(x - cx) / width)
                            low = int(angle[y, x]) % 8
                            share = angle[y, x] - int(angle[y, x])
                            one[i, j, low] += weight * strength[y, x] * (1 - share)
                            one[i, j, (low + 1) % 8] += weight * strength[y, x] * share
            one = one.ravel() / np.linalg.norm(one)
            one = np.minimum(one, 0.2)
            out.append(one / np.linalg.norm(one))
    return np.array(out)


@pytest.mark.parametrize(("width", "step"), [(2, 3), (5, 4)])
def test_dense_sift_is_a_loop_in_float64(width, step):
    grey = cv2.cvtColor(picture(size=(20, 24)), cv2.COLOR_RGB2GRAY)
    assert (
        np.abs(dense_vlad.dense_sift(grey, width, step) - looped_dense(grey, width, step)).max()
        < 1e-4
    )


@pytest.mark.parametrize("value", [50, 131, 254])
def test_rounding_in_a_flat_image_is_no_dense_descriptor(value):
    """Vector units round the last columns of a blurred constant image otherwise than the others."""
    flat = np.full((41, 67, 3), (value, value - 3, value), np.uint8)
    assert not len(dense_vlad.local(flat, settings("dense_vlad")))
    flat[20, 30] += 1  # one grey level of one pixel is no rounding
    assert len(dense_vlad.local(flat, settings("dense_vlad")))


def test_flat_places_give_no_dense_descriptor():
    half = picture(size=(48, 64))
    every = len(dense_vlad.local(half, settings("dense_vlad", step=8)))
    half[:, :40] = 90
    assert 0 < len(dense_vlad.local(half, settings("dense_vlad", step=8))) < every
