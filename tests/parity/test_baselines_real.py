"""Baselines on Corridor's real images beside NumPy and OpenCV alone, and beside published figures."""

import cv2
import numpy as np
import pytest

from configs import base
from tests.helpers.baselines import places
from vprjax.evaluation import baseline

RIGHT = 2  # frames, as Corridor's ground truth


class Corridor:
    name, version, metadata = "places_csv/corridor", "1.0.0", {}

    def __init__(self, folder):
        self.images = {}
        for split, name in (("reference", "ref"), ("test01", "query")):
            files = sorted((folder / name).glob("*.jpg"))
            self.images[split] = np.stack([cv2.imread(str(file))[..., ::-1] for file in files])
        self.splits = {split: places(images) for split, images in self.images.items()}
        self.counts = {split: len(found) for split, found in self.splits.items()}

    def places(self, names):
        return self.splits[names[0]]


@pytest.fixture(scope="module")
def corridor(shared_real):
    return Corridor(shared_real / "corridor")


def ours(corridor, folder, name, **settings):
    """Which queries are right, and the 95 % interval of their share, percent."""
    config = base.get_config()
    config.dataset.update(query_splits=("test01",), train_splits=(), tolerances=(10.0 * RIGHT,))
    config.baseline.name = name
    config.baseline[name].update(settings)
    found = baseline.run(config, folder, corridor)[0]["test01"]
    right = found.matches.errors <= 10 * RIGHT  # the helper's images are 10 m apart
    assert len(right) == 111
    return right, found.figures.interval[f"{10 * RIGHT}"]


def share(matched):
    return 100 * np.mean(np.abs(matched - np.arange(len(matched))) <= RIGHT)


def greys(images):
    return [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]


def patches(images):
    out = []
    for grey in greys(images):
        small = cv2.resize(grey, (64, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
        for y in range(0, 32, 8):
            for x in range(0, 64, 8):
                part = small[y : y + 8, x : x + 8]
                deviation = part.std()
                small[y : y + 8, x : x + 8] = (part - part.mean()) / deviation if deviation else 0
        out.append(small.ravel())
    return np.array(out)


def inside(percent, interval):
    assert interval[0] <= percent <= interval[1]


def test_pixels(corridor, tmp_path):
    queries, references = (patches(corridor.images[split]) for split in ("test01", "reference"))
    queries, references = (
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, references)
    )
    right, interval = ours(corridor, tmp_path, "pixels")
    alone = share(np.argmax(queries @ references.T, axis=1))
    inside(alone, interval)
    assert alone == pytest.approx(100 * right.mean(), abs=2.8)  # three queries


def test_seqslam_finds_more_than_single_frames(corridor, tmp_path):
    queries, references = (patches(corridor.images[split]) for split in ("test01", "reference"))
    d = np.array([np.abs(references - q).mean(axis=1) for q in queries])
    enhanced = np.empty_like(d)
    for j in range(111):
        near = d[:, max(0, j - 5) : j + 6]
        enhanced[:, j] = (d[:, j] - near.mean(axis=1)) / near.std(axis=1)
    matched = []
    for i in range(111):
        cost = np.full(111, np.inf)
        for speed in (0.8, 0.9, 1.0, 1.1, 1.2):
            for j in range(111):
                line = [
                    enhanced[i - b, j - round(b * speed)]
                    if j >= round(b * speed)
                    else enhanced[i - b].mean()
                    for b in range(min(10, i + 1))
                ]
                cost[j] = min(cost[j], np.mean(line))
        matched.append(np.argmin(cost))
    right, interval = ours(corridor, tmp_path, "seqslam")
    inside(share(np.array(matched)), interval)
    assert share(np.array(matched)) == pytest.approx(100 * right.mean(), abs=2.8)
    assert right.mean() > ours(corridor, tmp_path / "alone", "pixels")[0].mean()


def test_vlad_of_sift(corridor, tmp_path):
    sift, local = cv2.SIFT_create(nfeatures=1000, contrastThreshold=0.04), {}
    for split, images in corridor.images.items():
        local[split] = []
        for grey in greys(images):
            found = sift.detectAndCompute(grey, None)[1]
            found = np.zeros((0, 128)) if found is None else found
            local[split].append(
                np.sqrt(found / found.sum(axis=1, keepdims=True)).astype(np.float32)
            )
    every = np.concatenate(local["reference"])
    cv2.setRNGSeed(3)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 20, 0)
    _, _, centres = cv2.kmeans(every, 64, None, stop, 1, cv2.KMEANS_PP_CENTERS)
    vlads = {}
    for split, images in local.items():
        vlads[split] = []
        for x in images:
            sums = np.zeros((64, 128))
            owner = ((x[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
            for k in np.unique(owner):
                total = (x[owner == k] - centres[k]).sum(axis=0)
                sums[k] = total / np.linalg.norm(total)
            vlads[split].append(sums.ravel() / max(np.linalg.norm(sums), 1e-12))
    alone = share(np.argmax(np.array(vlads["test01"]) @ np.array(vlads["reference"]).T, axis=1))
    _, interval = ours(corridor, tmp_path, "vlad_sift", words=64)
    inside(alone, interval)


def test_hog_is_near_its_published_share(corridor, tmp_path):
    _, interval = ours(corridor, tmp_path, "hog")
    inside(
        47.7, interval
    )  # VPR-Bench; its code normalises blocks and scales images a little otherwise
