#!/usr/bin/env bash
# rosbags 0.11.9: the typestore of ROS 1 Noetic lacks tf2_msgs/msg/TFMessage, the type of every robot's /tf topic,
# which that of ROS 2 Humble has. Reading works, as ROS 1 bags carry their definitions; writing /tf raises KeyError
# until the definition is registered.
# Seen on 2026-11-29: "noetic False, humble True, registered True".
set -euo pipefail
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install -q rosbags==0.11.9
found=$("$room/venv/bin/python" -c '
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

name = "tf2_msgs/msg/TFMessage"
noetic, humble = (get_typestore(store) for store in (Stores.ROS1_NOETIC, Stores.ROS2_HUMBLE))
before = name in noetic.types
noetic.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", name))
print(f"noetic {before}, humble {name in humble.types}, registered {name in noetic.types}")
')
echo "rosbags 0.11.9: $found"
[ "$found" = "noetic False, humble True, registered True" ]
