#!/usr/bin/env bash
# gpxpy 1.6.2: GPXTrack.get_location_at, "approx. location at given time", gives the first point at or after the time:
# neither the nearest point nor a place between two. A millisecond after a point it gives the next one, here 10 s and
# 111 m ahead, so that photos placed by it run ahead of the car by up to a whole step of the receiver.
# Seen on 2026-11-29: "asked 0.001 s, got 10 s, 111 m ahead".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q gpxpy==1.6.2
found=$("$room/venv/bin/python" -c '
import datetime
import gpxpy

rows = "".join(
    f"<trkpt lat=\"{50 + second / 10000}\" lon=\"5\"><time>2024-02-29T11:00:{second:02d}Z</time></trkpt>"
    for second in (0, 10, 20)
)
head = "<gpx version=\"1.1\" creator=\"x\" xmlns=\"http://www.topografix.com/GPX/1/1\"><trk><trkseg>"
track = gpxpy.parse(f"{head}{rows}</trkseg></trk></gpx>").tracks[0]
start = track.segments[0].points[0]
(at,) = track.get_location_at(start.time + datetime.timedelta(milliseconds=1))
ahead = start.distance_2d(at)
print(f"asked 0.001 s, got {(at.time - start.time).seconds} s, {ahead:.0f} m ahead")
')
echo "gpxpy 1.6.2: $found"
[ "$found" = "asked 0.001 s, got 10 s, 111 m ahead" ]
