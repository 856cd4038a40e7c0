"""Writes COLMAP text models and RobotCar Seasons v2 trees in their real forms, with made-up rows."""

import numpy as np
from scipy.spatial.transform import Rotation

from tests.helpers.raw_drives import Drive, pictures


def colmap(folder, made: Drive, world: np.ndarray, names, comma="", home="sparse/0") -> None:
    """A model in a world of other axes: `world` is 3x3, east-north-up to the model's.

    Each image sees a point 5 m before it and to the right, which the next image sees too.
    """
    (folder / home).mkdir(parents=True, exist_ok=True)
    lines = ["# Image list with two lines of data per image:", f"# Number of images: {len(names)}"]
    turns, places = world @ made.turns, made.places @ world.T
    for number, name in enumerate(names, 1):
        pictures((folder / "images" / name).parent, [(folder / "images" / name).name], number)
        there = turns[number - 1].T  # world to camera
        x, y, z, w = Rotation.from_matrix(there).as_quat()
        numbers = [w, x, y, z, *(-there @ places[number - 1])]
        fields = [str(number), *(f"{value:.12f}" for value in numbers), "1", name]
        lines.append(f"{comma} ".join(fields))
        lines.append(
            "" if number % 2 else "355.968 4.50115 -1 863.644 4.99844 17"
        )  # some see no point
    (folder / home / "images.txt").write_text("\n".join(lines) + "\n")
    seen = places[: len(names)] + turns[: len(names)] @ (1.0, 0.2, 5.0)
    points = ["# 3D point list with one line of data per point:"]
    for number, point in enumerate(seen[:-1], 1):
        track = f"{number} 17 {number + 1} 4"
        points.append(f"{number} {' '.join(map(repr, point.tolist()))} 9 9 9 0.5 {track}")
    (folder / home / "points3D.txt").write_text("\n".join(points) + "\n")


def seasons(folder, made: Drive, condition, unposed=(), camera="rear", first=0) -> None:
    """A condition's pictures, and its rows in the list: camera to world; the last are test images."""
    stems = [str(nanos // 1000) for nanos in made.nanos]
    pictures(folder / "images" / condition / camera, [f"{stem}.jpg" for stem in stems], first)
    with (folder / "robotcar_v2_train.txt").open("a") as file:
        for i, stem in enumerate(stems):
            matrix = np.eye(4)
            matrix[:3, :3], matrix[:3, 3] = made.turns[i], made.places[i]
            if i not in unposed:
                values = " ".join(f"{value:.9f}" for value in matrix.ravel())
                file.write(f"{condition}/{camera}/{stem}.png {values}\n")


def nvm(folder, made: Drive, condition="overcast-reference", camera="rear", first=0) -> None:
    """Reference pictures and the merged model: world to camera, and the camera's centre."""
    stems = [str(nanos // 1000) for nanos in made.nanos]
    pictures(folder / "images" / condition / camera, [f"{stem}.jpg" for stem in stems], first)
    lines = ["NVM_V3 ", "", f"{len(stems)}"]
    for stem, turn, place in zip(stems, made.turns, made.places, strict=True):
        x, y, z, w = Rotation.from_matrix(turn.T).as_quat()
        values = " ".join(f"{value:.12f}" for value in (w, x, y, z, *place))
        lines.append(f"./{condition}/{camera}/{stem}.jpg 400.0 {values} 0 0 ")
    (folder / "3D-models").mkdir()
    (folder / "3D-models/all.nvm").write_text("\n".join([*lines, "", "0", ""]))
