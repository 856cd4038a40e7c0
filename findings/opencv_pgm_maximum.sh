#!/usr/bin/env bash
# OpenCV 5.0.0.93 ignores the maximum value in the header of binary PGM and PPM files (P5, P6) of 8 bits and
# reads the numbers as they are, but scales those of ASCII files (P2, P3) to 0..255. So one image gives other
# grey levels in its two forms, and a binary one with a maximum of 100 stays dark: 100 is its white.
# Pillow 13.0.0 scales both. Seen on 2026-11-29: "binary 50 100 ascii 127 255 pillow 128 255 128 255".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3.11 -m venv "$room/venv"
"$room/venv/bin/pip" install -q opencv-python-headless==5.0.0.93 pillow==13.0.0
found=$("$room/venv/bin/python" - << 'PROGRAM'
import io

import cv2
import numpy as np
from PIL import Image

forms = b"P5\n2 1\n100\n\x32\x64", b"P2\n2 1\n100\n50 100\n"
opencv = [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_GRAYSCALE)[0].tolist() for f in forms]
pillow = [np.asarray(Image.open(io.BytesIO(f)).convert("L"))[0].tolist() for f in forms]
print("binary", *opencv[0], "ascii", *opencv[1], "pillow", *pillow[0], *pillow[1])
PROGRAM
)
echo "OpenCV 5.0.0.93, Pillow 13.0.0: $found"
[ "$found" = "binary 50 100 ascii 127 255 pillow 128 255 128 255" ]
