#!/usr/bin/env bash
# mapillary_tools 0.14.7: a photo between two GPS points on either side of the date line, 21 m apart, gets longitude 0:
# half way round the earth, at Greenwich. geo.interpolate is linear in degrees, though the same module's distance and
# direction of the two points do know the date line: the photo looks east, as it should. Drives on Taveuni (Fiji) and in
# Chukotka cross it. An interpolation in a projected plane does not have the step.
# Seen on 2026-11-29: "distance 21.3 m, direction 90.0, longitude 0.0".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q mapillary_tools==0.14.7
found=$("$room/venv/bin/python" -c '
from mapillary_tools import geo

before, after = (
    geo.Point(time=time, lat=-16.8, lon=lon, alt=None, angle=None)
    for time, lon in ((0, 179.9999), (2, -179.9999))
)
apart = geo.gps_distance((before.lat, before.lon), (after.lat, after.lon))
photo = geo.interpolate([before, after], 1)
print(f"distance {apart:.1f} m, direction {photo.angle:.1f}, longitude {photo.lon:.1f}")
')
echo "mapillary_tools 0.14.7: $found"
[ "$found" = "distance 21.3 m, direction 90.0, longitude 0.0" ]
