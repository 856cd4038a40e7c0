"""The words of a result's files and page on what it is of."""

from vprjax.report import titles


def test_images_beside_the_home_datasets():
    provenance = {"others": {"synthetic/tiny:train": 48}, "keep_images": {"mine:a,b": 12_000}}
    assert titles.images_beside(provenance) == [
        ("trained on, too", "synthetic/tiny:train 48"),
        ("keep images", "mine:a,b 12,000"),
    ]
    assert titles.images_beside({"keep_images": {}}) == []
