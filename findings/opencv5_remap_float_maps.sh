#!/usr/bin/env bash
# OpenCV 5 computes cv2.remap with float maps otherwise than OpenCV 4: the same picture and maps give other grey
# levels, as 5 no longer rounds positions to 1/32 of a pixel. Fixed-point maps (cv2.convertMaps) give the same
# pixels in both, so that a dataset undistorted by them does not depend on the version.
# Seen on 2026-11-29 with opencv-python-headless 4.13.0.92 and 5.0.0.93: float maps 6 levels, fixed-point maps 0.
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cat > "$room/remap.py" << 'PROGRAM'
import sys

import cv2
import numpy as np

rng = np.random.default_rng(0)
image = rng.integers(0, 256, (240, 320), np.uint8)
y, x = np.mgrid[:240, :320].astype(np.float32)
x += 3.3 * np.sin(y / 17)
y += 2.7 * np.cos(x / 23)
fixed = cv2.convertMaps(x, y, cv2.CV_16SC2)
np.save(sys.argv[1], [cv2.remap(image, *maps, cv2.INTER_LINEAR) for maps in ((x, y), fixed)])
PROGRAM
for version in 4.13.0.92 5.0.0.93; do
    python3 -m venv "$room/$version"
    "$room/$version/bin/pip" install -q "opencv-python-headless==$version"
    "$room/$version/bin/python" "$room/remap.py" "$room/$version.npy"
done
found=$("$room/5.0.0.93/bin/python" -c "
import numpy as np
(a, b), (c, d) = (np.load(f'$room/{v}.npy').astype(int) for v in ('4.13.0.92', '5.0.0.93'))
print('float maps', abs(a - c).max(), 'fixed-point maps', abs(b - d).max(), 'float against fixed in 4', abs(a - b).max())
")
echo "largest difference in grey levels between OpenCV 4.13 and 5.0: $found"
[[ "$found" =~ ^float\ maps\ ([1-9][0-9]*)\ fixed-point\ maps\ 0\  ]]
