"""Which cases are shown, and that each shows its own images."""

import base64
import dataclasses

import cv2
import numpy as np

from tests.helpers import made_up_page
from vprjax.report import gallery


def test_best_are_sure_and_right_worst_are_sure_and_wrong():
    errors = np.array([0.0, 1, 9, 30, 40, 2, 0, 0, 0, 0, 0, 0])
    distance = np.array([0.5, 0.1, 0.0, 0.3, 0.2, 0.9, 1, 1, 1, 1, 1, 1])
    chosen = gallery.choose(errors, distance, (25.0, 2.0))
    best, worst, anyone = chosen.values()
    assert list(best[:2]) == [1, 5]  # 0 is next to 1
    assert list(worst) == [4]  # 3 is next to 4; 2 is right at 25
    assert len(set(anyone)) == 4
    again = gallery.choose(errors, distance, (25.0, 2.0))["Random queries"]
    np.testing.assert_array_equal(anyone, again)


def test_each_picture_is_the_image_it_says():
    config = made_up_page.config()
    queries, references = made_up_page.places("q"), made_up_page.places("r")
    found = made_up_page.result(config, queries, references).matches
    matches = dataclasses.replace(
        found,
        numbers=(np.arange(40) + 7) % 40,  # always wrong
        distances=np.linspace(0, 1, 40),
        errors=np.full(40, 70.0),
        nearest=np.arange(40),
    )
    groups = gallery.groups(config, queries, references, matches)
    assert [len(group.cases) for group in groups] == [0, 4, 4]
    for case in groups[1].cases:
        number = int(case.query.split("/")[1])
        assert case.verdict == "wrong" and not case.right
        grey = [_grey(picture.uri) for picture in case.pictures]
        assert grey == [number, (number + 7) % 40, number]  # image i is filled with grey level i


def _grey(uri):
    data = base64.b64decode(uri.partition(",")[2])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return int(np.median(image))
