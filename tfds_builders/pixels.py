"""What a dataset's pixels turn out to be: aspects that the size does not have, grey levels left."""

import collections
from typing import Any

import numpy as np

from tfds_builders.errors import RawDataError
from tfds_builders.schema import PlacesConfig

PANORAMA, CLOSE = 2.0, 0.005  # width by height of a picture all round, and how near counts
ASPECT = 1.1  # ratio of two aspects above which a stretch is worth a warning
FEWEST = 64  # grey levels below which a 16-bit dataset needs a stated conversion
NO_LEVELS = bytes(32)


class Pixels:
    """Collects sizes and grey levels image by image.

    Args:
      config: the size and the conversion of 16-bit images.
      limits: the 16-bit values that become 0 and 255; None where the high byte is kept.
    """

    def __init__(self, config: PlacesConfig, limits: tuple[int, int] | None):
        """Has seen no image."""
        self._config, self._limits = config, limits
        self._seen: collections.Counter[str] = collections.Counter()
        self._stretched: dict[str, list[tuple[float, str, tuple[int, int]]]] = {}
        self._round: dict[str, list[str]] = {}
        self._deep: list[str] = []
        self._levels = np.zeros(256, bool)

    def add(self, split: str, where: str, size: tuple[int, int], levels: bytes) -> None:
        """Counts one image: its raw height and width, and `levels` where it has 16 bits."""
        self._seen[split] += 1
        config = self._config
        if abs(size[1] / size[0] - PANORAMA) < CLOSE:
            self._round.setdefault(split, []).append(where)
        if config.height and config.resize == "stretch":
            ratio = size[1] * config.height / (size[0] * config.width)
            if max(ratio, 1 / ratio) > ASPECT:
                self._stretched.setdefault(split, []).append((ratio, where, size))
        if levels.strip(b"\0"):
            self._deep.append(where)
            self._levels |= np.unpackbits(np.frombuffer(levels, np.uint8)).astype(bool)

    def warnings(self) -> list[str]:
        """A sentence per split that is stretched or holds panoramas, and one on 16-bit images.

        Raises:
          RawDataError: no conversion is chosen, and the 16-bit images keep fewer than `FEWEST` levels.
        """
        told = []
        config = self._config
        for split, found in self._stretched.items():
            _, where, size = found[0]
            most = max(max(ratio, 1 / ratio) for ratio, _, _ in found)
            told.append(
                f"{split}: {len(found)} of {self._seen[split]} images are stretched by up to "
                f"{most - 1:.0%} to {config.height}x{config.width} (height x width), e.g. {where} of "
                f'{size[0]}x{size[1]}; the config\'s "resize" may be pad, crop or shorter_side'
            )
        for split, found in self._round.items():
            if len(found) < self._seen[split]:  # else it is the camera's own shape
                told.append(
                    f"{split}: {len(found):,} of {self._seen[split]:,} images are twice as wide as high, "
                    f"as whole panoramas are, e.g. {found[0]}: leave them out where the others are none"
                )
        if self._deep:
            left = int(self._levels.sum())
            how = f"{self._limits[0]} to {self._limits[1]}" if self._limits else "raw/256"
            sentence = (
                f"{self._deep[0]} and {len(self._deep) - 1} further images have 16 bits and keep {left} "
                f"of 256 grey levels by {how}"
            )
            if left < FEWEST and not config.sixteen_bit:
                raise RawDataError(
                    f"{sentence}; set the config's \"sixteen_bit\" to 'percentiles', to the range of their "
                    "values such as '7000-8200', or to 'raw/256' to keep it so"
                )
            told.append(sentence)
        return told

    def notes(self) -> dict[str, Any]:
        """The conversion of 16-bit images as JSON values; empty without such images."""
        if not self._deep:
            return {}
        return {
            "sixteen_bit": {
                "images": len(self._deep),
                "levels": int(self._levels.sum()),
                "conversion": self._config.sixteen_bit or "raw/256",
                "range": list(self._limits) if self._limits else [0, 65535],
            }
        }
