"""A run's findings in memory, and what a written page holds."""

import base64
import dataclasses
import html.parser

import numpy as np

from configs import base
from tests.helpers.memory_places import drive
from vprjax.evaluation.measure import Described, measure


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


def result(config, queries, references, wrong=()):
    """The result of descriptors that match every query but those of `wrong` to its nearest reference.

    Right matches have a distance of 0.2; wrong ones, 20 references on, have 0.4, and the right one is next.
    """
    gaps = np.linalg.norm(queries.positions[:, None] - references.positions[None], axis=2)
    eye, nearest = np.eye(len(references), dtype=np.float32), gaps.argmin(axis=1)
    rows = 1.2 * eye[nearest]
    for i in wrong:
        rows[i] = 1.2 * eye[(nearest[i] + 20) % len(references)] + np.sqrt(0.12) * eye[nearest[i]]
    return measure(config, Described(queries, rows), Described(references, eye))


def changed(found, **parts):
    """A result with other fields, given by part: `changed(found, figures={"queries": 3})`."""
    parts = {
        name: dataclasses.replace(getattr(found, name), **fields) for name, fields in parts.items()
    }
    return dataclasses.replace(found, **parts)


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
