"""Digests of a split's images, which show where two splits hold the same image.

`image_digests-SPLIT.bin` lies beside the records: `DIGEST` bytes per image, the first of the SHA-256 of its
stored bytes, in the records' order; as many of the SHA-256 of all these come last.
"""

import hashlib
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

DIGEST = 8  # two of a million different images share one by chance once in 37 million datasets


def digest(image: bytes) -> bytes:
    """The first bytes of an image's SHA-256."""
    return hashlib.sha256(image).digest()[:DIGEST]


def write(folder: pathlib.Path, split: str, digests: Sequence[bytes]) -> None:
    """Writes the digests of a split's images into the dataset's folder."""
    data = b"".join(digests)
    (pathlib.Path(folder) / f"image_digests-{split}.bin").write_bytes(data + digest(data))


def read(folder: pathlib.Path, split: str) -> list[bytes]:
    """The digests of a split's images that `write` wrote."""
    data = (pathlib.Path(folder) / f"image_digests-{split}.bin").read_bytes()[:-DIGEST]
    return [data[i : i + DIGEST] for i in range(0, len(data), DIGEST)]


def warnings(splits: Mapping[str, Sequence[bytes]]) -> Iterator[str]:
    """Yields a sentence per two splits that share images, from the digests of their images."""
    for (one, ours), (other, theirs) in itertools.combinations(splits.items(), 2):
        both = set(ours) & set(theirs)
        if both:
            yield (
                f"{sum(x in both for x in ours)} of {len(ours)} images of {one} are among the "
                f"{len(theirs)} of {other}, byte for byte: never evaluate one against the other"
            )
