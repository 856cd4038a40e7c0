#!/usr/bin/env bash
# cv2.GaussianBlur leaves no flat picture flat. In float32 it sums the last columns, behind the last whole vector,
# otherwise than the rest. So a picture of one grey value has two where its width is no multiple of the vector's length.
# Gradients brought to length 1 (dense SIFT, HOG) then describe a blank wall by a unit vector of rounding, at some widths
# alone. A test on 64 columns sees none of it. A length below the rounding is to count as zero.
# Seen on 2026-11-30 with opencv-python-headless 4.13.0.92 and 5.0.0.93 on x86-64: at 67 columns and a deviation of
# 1.33, grey 17 becomes 17.0000019 and 17.0; at 64 columns one value.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cat > "$room/blur.py" << 'PROGRAM'
import cv2
import numpy as np


def unlike(width):
    """Grey values of 256 whose flat picture has several values behind the blur, and unit gradients there."""
    values = vectors = 0
    for grey in range(256):
        blurred = cv2.GaussianBlur(np.full((61, width), grey, np.float32), (0, 0), 1.33)
        slope = np.diff(blurred, axis=1)
        unit = slope / np.maximum(np.abs(slope), 1e-12)
        values += len(np.unique(blurred)) > 1
        vectors += bool((np.abs(unit) == 1).any())
    return values, vectors


print(cv2.__version__, "64:", *unlike(64), "67:", *unlike(67), "320:", *unlike(320), "333:", *unlike(333))
PROGRAM
for version in 4.13.0.92 5.0.0.93; do
    python3 -m venv "$room/$version"
    "$room/$version/bin/pip" install -q "opencv-python-headless==$version"
    found=$("$room/$version/bin/python" "$room/blur.py")
    echo "flat pictures of 256 that are not flat behind the blur, and those with gradients of length 1, by width: $found"
    [[ "$found" =~ \ 64:\ 0\ 0\ 67:\ [1-9][0-9]*\ [1-9][0-9]*\ 320:\ 0\ 0\ 333:\ [1-9] ]]
done
