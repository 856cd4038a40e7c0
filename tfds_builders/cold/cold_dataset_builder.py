"""The TFDS builder of COLD: indoor sequences with a pose in each image's name."""

import dataclasses
import pathlib

import tensorflow_datasets as tfds

from tfds_builders.builder import ArchiveBuilder, Plan
from tfds_builders.cold import sequence
from tfds_builders.errors import RawDataError
from tfds_builders.frame import Frame, check_split_names
from tfds_builders.schema import PlacesConfig

# Saarbruecken, part B, extended path: the study's "map B extended".
PAPER = {
    "train": "cold-saarbruecken/part_b/seq4_sunny3",
    "reference": "cold-saarbruecken/part_b/seq4_cloudy1",
    "test01": "cold-saarbruecken/part_b/seq4_cloudy2",
    "test02": "cold-saarbruecken/part_b/seq4_night3",
    "sunny1": "cold-saarbruecken/part_b/seq4_sunny1",
}
PAPER_COUNTS = {"train": 1036, "reference": 1371, "test01": 1021, "test02": 970}  # Table II
MAPS = {
    "freiburg_a": "cold-freiburg/part_a",
    "freiburg_b": "cold-freiburg/part_b",
    "ljubljana_a": "cold-ljubljana/part_a",
    "saarbruecken_a": "cold-saarbruecken/part_a",
    "saarbruecken_b": "cold-saarbruecken/part_b",
}


@dataclasses.dataclass
class ColdConfig(PlacesConfig):
    """Sequences, camera, and size and format of the stored images.

    Attributes:
      sequences: split name to sequence id, `<lab>/<part>/<sequence>`, all of one lab and part; the study's
        by default, none beside a `map`.
      map: `<lab>/<part>` instead of `sequences`; every sequence found becomes the split of its name.
      camera: std_cam (perspective) or omni_cam (omnidirectional).
    """

    sequences: dict[str, str] = dataclasses.field(default_factory=lambda: dict(PAPER))
    map: str = ""
    camera: str = "std_cam"

    def __post_init__(self):
        """Drops the default sequences beside a map."""
        if self.map and self.sequences == PAPER:
            self.sequences = {}

    def check(self) -> None:
        """Raises RawDataError where a value cannot be used."""
        super().check()
        if self.camera not in sequence.CAMERAS:
            raise RawDataError(
                f"config key 'camera' is {self.camera!r}; known: {', '.join(sequence.CAMERAS)}"
            )
        if not isinstance(self.sequences, dict) or bool(self.sequences) == bool(self.map):
            raise RawDataError(
                "give either config key 'sequences', split names to sequence ids, e.g. "
                '{"train": "cold-saarbruecken/part_b/seq4_sunny3"}, or \'map\', '
                'e.g. "cold-saarbruecken/part_b"'
            )
        if self.map and None in sequence.name_of(str(self.map))[:2]:
            raise RawDataError(
                f"config key 'map' is {self.map!r}; give <lab>/<part>, e.g. {MAPS['freiburg_a']}"
            )
        check_split_names("config key 'sequences'", self.sequences)
        maps = {}
        for split, text in self.sequences.items():
            maps.setdefault(sequence.parse_id(str(text))[:2], split)
        if len(maps) > 1:
            one, other, *_ = maps.values()
            raise RawDataError(
                f"splits {one!r} ({self.sequences[one]}) and {other!r} ({self.sequences[other]}) are "
                "of different maps, whose coordinates do not compare; build one dataset per map"
            )


class Builder(ArchiveBuilder):
    """One camera of COLD, with one split per sequence and rooms as labels."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012  # TFDS's own attribute
    BUILDER_CONFIGS = [  # noqa: RUF012
        ColdConfig(
            name="paper",
            description="The study's sequences and sunny1, standard camera, raw size.",
        ),
        *(
            ColdConfig(name=name, description=f"Every sequence found of {where}.", map=where)
            for name, where in MAPS.items()
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "manual_dir holds the sequences' archives as downloaded, e.g. "
        "cold-saarbruecken/part_b/seq4_cloudy1.tar, or unpacked folders; see "
        "https://www.cas.kth.se/COLD/ to download them."
    )

    def plan(self, manual_dir: pathlib.Path) -> Plan:
        """All frames of every sequence in time order; raises RawDataError."""
        config: ColdConfig = self.builder_config
        plan = Plan(splits={}, pose_source="laser localisation, from the file names")
        found = sequence.places(manual_dir)
        wanted = {
            split: sequence.parse_id(text) for split, text in config.sequences.items()
        } or _all_of(config.map, found, manual_dir)
        plan.notes = {
            "sequences": {split: str(name) for split, name in wanted.items()},
            "camera": config.camera,
            "rooms": {},
        }
        problems: list[str] = []
        for split, name in wanted.items():
            try:
                place = sequence.choose(found, name, manual_dir)
                self._add(plan, split, name, sequence.read(place, config.camera))
            except RawDataError as error:
                problems += error.problems
        if problems:
            raise RawDataError(*problems)
        if config.camera == "std_cam":
            _check_counts(plan)
        return plan

    def _add(self, plan: Plan, split: str, name: sequence.Name, run: sequence.Sequence) -> None:
        rooms = run.rooms or {}
        if run.rooms is None:
            plan.warnings.append(
                f"{split} ({name}) has no localization/places.lst: labels are empty"
            )
        plan.splits[split] = [
            Frame(
                image_id=f"{name}/{image.file}",
                position=image.position,
                heading=image.heading,
                timestamp=image.time,
                label=rooms.get(image.file, ""),
                source=image.source,
            )
            for image in run.images
        ]
        plan.found[split] = len(run.images)
        files = {image.file for image in run.images}
        if rooms and 2 * len(files & rooms.keys()) < len(files):
            plan.warnings.append(
                f"{split} ({name}): localization/places.lst lists {len(files & rooms.keys())} of "
                f"{len(files)} images, and the labels of the others are empty: is it another sequence's?"
            )
        plan.notes["rooms"][split] = {
            "listed_without_image": len(rooms.keys() - files),
            "images_not_listed": len(files - rooms.keys()),
        }


def _all_of(where: str, found: list[sequence.Place], manual_dir) -> dict[str, sequence.Name]:
    """Every sequence of a map by its split's name, e.g. `seq4_cloudy1`; raises RawDataError."""
    lab, part, _ = sequence.name_of(where)
    whole = sequence.Name(lab, part, None)
    vague = [
        str(place.path) for place in found if None in place.name[:2] and whole.allows(place.name)
    ]
    if vague:  # sequences of other maps have the same names
        raise RawDataError(
            f"{', '.join(vague)} may be of {whole} or of another map; put each into a folder named as in "
            f"COLD ({whole}), or give the config key 'sequences'"
        )
    runs = sorted({place.name.run for place in found if whole.allows(place.name)})
    if not runs:
        raise RawDataError(
            f"{manual_dir} holds no sequence of {whole}; put its archives there, "
            f"e.g. {whole}/seq1_cloudy1.tar"
        )
    return {run: sequence.Name(lab, part, run) for run in runs}


def _check_counts(plan: Plan) -> None:
    """Adds a warning for each count that differs from the paper's Table II."""
    paper = {PAPER[split]: count for split, count in PAPER_COUNTS.items()}
    for _, sentence in plan.count_differences(plan.notes["sequences"], paper, "Table II"):
        plan.warnings.append(sentence)
