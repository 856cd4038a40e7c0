"""Patch-normalised pixels and HOG against loops and OpenCV."""

import re

import cv2
import numpy as np
import pytest

from tests.helpers.baselines import picture, settings
from vprjax.retrieval.baselines import BASELINES, Facts, hog, pixels

HOG = {"size": 64}


def own(name):
    return settings(name, **(HOG if name == "hog" else {}))


def test_patches_have_mean_0_and_deviation_1():
    image = picture(size=(32, 64))
    found = pixels.normalised(image, 64, 32, 8)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)  # already 64x32
    for y in range(0, 32, 8):
        for x in range(0, 64, 8):
            patch = grey[y : y + 8, x : x + 8]
            wanted = (patch - patch.mean()) / patch.std()
            assert np.allclose(found[y : y + 8, x : x + 8], wanted, atol=1e-5)


def test_a_flat_patch_is_zero_and_a_flat_image_has_a_zero_descriptor():
    image = picture(size=(32, 64))
    image[:8, :8] = 77
    assert (pixels.normalised(image, 64, 32, 8)[:8, :8] == 0).all()
    for name in ("pixels", "hog", "seqslam"):
        found = BASELINES[name].describe(np.full((30, 40, 3), 9, np.uint8), {}, own(name))
        assert (found == 0).all(), name


def test_unit_length_makes_l2_rank_as_the_cosine():
    for name in ("pixels", "hog"):
        found = BASELINES[name].describe(picture(), {}, own(name))
        assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5), name


def looped_hog(grey, cell):
    """Dalal and Triggs's histograms, pixel by pixel in float64."""
    wide = np.pad(grey.astype(np.float64), 1, mode="reflect")
    rows, columns = grey.shape[0] // cell - 1, grey.shape[1] // cell - 1
    out = np.zeros((rows, columns, 2, 2, 9))  # cells by column
    for by in range(rows):
        for bx in range(columns):
            for y in range(2 * cell):
                for x in range(2 * cell):
                    py, px = by * cell + y + 1, bx * cell + x + 1
                    gx, gy = (
                        wide[py, px + 1] - wide[py, px - 1],
                        wide[py + 1, px] - wide[py - 1, px],
                    )
                    angle = np.arctan2(gy, gx) * 9 / np.pi - 0.5
                    low = int(np.floor(angle))
                    weight = np.hypot(gx, gy) * np.exp(
                        -((y - cell) ** 2 + (x - cell) ** 2) / (2 * (cell / 2) ** 2)
                    )
                    for cx in range(2):
                        for cy in range(2):
                            near = (1 - abs((x + 0.5) / cell - 0.5 - cx)) * (
                                1 - abs((y + 0.5) / cell - 0.5 - cy)
                            )
                            inside = (
                                abs((x + 0.5) / cell - 0.5 - cx) < 1
                                and abs((y + 0.5) / cell - 0.5 - cy) < 1
                            )
                            if inside:
                                one = out[by, bx, cx, cy]
                                one[low % 9] += weight * near * (1 - angle + low)
                                one[(low + 1) % 9] += weight * near * (angle - low)
    flat = out.reshape(rows, columns, 36)
    flat = np.minimum(flat / (np.linalg.norm(flat, axis=2, keepdims=True) + 3.6), 0.2)
    return flat / (np.linalg.norm(flat, axis=2, keepdims=True) + 1e-3)


def test_hog_is_a_loop_in_float64():
    grey = cv2.cvtColor(picture(size=(24, 32)), cv2.COLOR_RGB2GRAY)
    assert np.abs(hog.blocks(grey, 8) - looped_hog(grey, 8)).max() < 1e-5


@pytest.mark.skipif(not hasattr(cv2, "HOGDescriptor"), reason="OpenCV 5 has no HOGDescriptor")
def test_hog_is_opencv_4s():
    grey = cv2.cvtColor(picture(size=(64, 64)), cv2.COLOR_RGB2GRAY)
    theirs = cv2.HOGDescriptor((64, 64), (32, 32), (16, 16), (16, 16), 9).compute(grey)
    ours = hog.blocks(grey, 16).transpose(1, 0, 2)  # OpenCV runs through blocks by column
    assert np.abs(ours.ravel() - theirs.ravel()).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (
            "pixels",
            {"width": 60},
            r"pixels\.width=60 must be a multiple of baseline\.pixels\.patch=8",
        ),
        ("seqslam", {"height": 30}, r"seqslam\.height=30 must be a multiple"),
        ("hog", {"cell": 15}, r"hog\.size=512 must be a multiple of baseline\.hog\.cell=15"),
        (
            "seqslam",
            {"length": 12},
            r"length=12 must not go over the 11 images of the shortest query",
        ),
        ("seqslam", {"window": 50}, r"window=50 must be below the 50 references"),
        ("seqslam", {"contrast": 60}, r"contrast=60 must be below the 50 references"),
        (
            "dense_vlad",
            {"bins": (4, 20)},
            r"holds 20, whose descriptors span 61 pixels, but images have 48x64",
        ),
        (
            "fabmap",
            {"detection": 0.1, "false_detection": 0.1},
            r"detection=0\.1 must be above baseline\.fabmap\.false_detection=0\.1",
        ),
    ],
)
def test_settings_that_the_data_do_not_allow(name, changes, words):
    facts = Facts(references=50, queries=11, height=48, width=64)
    assert BASELINES[name].objections(settings(name), facts) == []
    (found,) = BASELINES[name].objections(settings(name, **changes), facts)
    assert re.search(words, found)
