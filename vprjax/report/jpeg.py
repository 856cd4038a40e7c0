"""Camera images as JPEG of a bounded width."""

import cv2
import numpy as np


def encoded(image: np.ndarray, widest: int) -> bytes:
    """A camera image, uint8 `(h, w, 3)` RGB, as JPEG of at most `widest` pixels in width."""
    bgr = cv2.cvtColor(narrowed(image, widest), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def narrowed(image: np.ndarray, widest: int) -> np.ndarray:
    """The image, shrunk to at most `widest` pixels in width."""
    height, width = image.shape[:2]
    if width <= widest:
        return image
    size = (widest, max(1, round(height * widest / width)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
