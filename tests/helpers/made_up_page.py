"""A run's findings in memory, and what a written page holds."""

import base64
import dataclasses
import html.parser

import numpy as np

from configs import base
from tests.helpers.memory_places import drive
from vprjax.evaluation.measure import curve_tolerances


def config(split="test01"):
    c = base.get_config()
    c.dataset.tolerances = (25.0, 10.0, 5.0)
    c.dataset.query_splits = (split,)
    c.eval.recalls = (1, 2)
    return c


def places(name, n=40, shift=0.0):
    found = drive(n=n, laps=1)
    ids = np.array([f"{name}/{i:03d}" for i in range(n)], dtype=object)
    positions = found.positions + np.array([shift, 3 * shift])
    positions[:, 1] += 0.05 * positions[:, 0] ** 1.5
    return dataclasses.replace(found, image_ids=ids, positions=positions)


def figures(config, queries, references, wrong=()):
    """What an evaluation gives where all answers but those of `wrong` are the right ones."""
    gaps = np.linalg.norm(queries.positions[:, None] - references.positions[None], axis=2)
    matched = gaps.argmin(axis=1)
    matched[list(wrong)] = (matched[list(wrong)] + 20) % len(references)
    rows = np.arange(len(queries))
    distance = np.where(np.isin(rows, wrong), 0.4, 0.2)

    def share(errors, tolerances):
        return np.array([100 * np.mean(errors <= t) for t in tolerances])

    def by(keys, values):
        return {f"{key:g}": float(value) for key, value in zip(keys, values, strict=True)}

    tolerances, curve = config.dataset.tolerances, curve_tolerances(config.dataset.tolerances)
    return {
        "fcm": by(tolerances, share(gaps[rows, matched], tolerances)),
        "oracle_fcm": by(tolerances, share(gaps.min(axis=1), tolerances)),
        "recall": {"1": 90.0, "2": 100.0},
        "queries": len(queries),
        "references": len(references),
        "curve": share(gaps[rows, matched], curve),
        "oracle_curve": share(gaps.min(axis=1), curve),
        "matched": matched,
        "distance": distance,
    }


def provenance(config):
    words = (
        "weights_sha256 trained_on steps device machine code_version denominator command written"
    ).split()
    saved = config.to_dict()
    return {**dict.fromkeys(words, "someword"), "seed": 3, "config": saved, "trained_with": saved}


class Read(html.parser.HTMLParser):
    """The tags, texts, images and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.links, self.words = [], [], [], []
        self.ids, self._open = [], []
        self.feed(text)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "img":
            self.images.append(attributes)
        elif tag == "a":
            self.links.append(attributes["href"])
        if tag not in ("img", "meta", "link"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, f"{tag} ends out of order"

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def svgs(self):
        """The SVG images as text."""
        kind = "data:image/svg+xml;base64,"
        sources = [i["src"] for i in self.images if i["src"].startswith(kind)]
        return [base64.b64decode(s.removeprefix(kind)).decode() for s in sources]


def check_self_contained(page):
    """No script, nothing from outside, every image with words."""
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    assert page.images
    for image in page.images:
        assert image["src"].startswith("data:image/") and image["alt"].strip()
        assert int(image["width"]) > 0 and int(image["height"]) > 0
    for svg in page.svgs():
        assert "prefers-color-scheme" in svg and "#010203" not in svg
        assert not any(word in svg for word in ("<script", 'href="http', "@import"))
    assert len(page.ids) == len(set(page.ids))
    assert all(link.removeprefix("#") in page.ids for link in page.links if link.startswith("#"))
