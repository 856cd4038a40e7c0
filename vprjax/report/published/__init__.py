"""The paper's published values: Tables III and IV as printed."""

import csv
import dataclasses
import functools
import pathlib
from typing import NamedTuple

from vprjax.losses import LOSSES
from vprjax.models.backbones import BACKBONES
from vprjax.models.heads import HEADS

# As the paper and tables write the variants.
NAMES = {name: v.title for variants in (BACKBONES, HEADS, LOSSES) for name, v in variants.items()}


class Cell(NamedTuple):
    """One model of the study: its loss, pooling head and backbone."""

    loss: str
    pooling: str
    backbone: str


class Published(NamedTuple):
    """One printed FCM, in percent, of one model on one query sequence at one tolerance in metres."""

    cell: Cell
    test: str
    tolerance: float
    fcm: float


@dataclasses.dataclass(frozen=True)
class Study:
    """One of the paper's two tables.

    Attributes:
      dataset: name of the dataset that the values belong to, `builder/config`.
      title: of the paper's table.
      claim: least and most percentage points that ArcFace leads by, according to the text.
      values: in the paper's order.
    """

    dataset: str
    title: str
    claim: tuple[float, float]
    values: tuple[Published, ...]

    @property
    def tolerances(self) -> tuple[float, ...]:
        """Metres, widest first."""
        return tuple(dict.fromkeys(value.tolerance for value in self.values))

    def ladder(self, cell: Cell, test: str) -> dict[float, float]:
        """FCM by tolerance of one model on one query sequence; empty where the paper has no values."""
        return {v.tolerance: v.fcm for v in self.values if (v.cell, v.test) == (cell, test)}

    def misprints(self) -> list[tuple[Published, Published]]:
        """Neighbouring values of a ladder where FCM grows as the tolerance shrinks: impossible."""
        pairs = zip(self.values, self.values[1:], strict=False)
        return [(a, b) for a, b in pairs if (a.cell, a.test) == (b.cell, b.test) and b.fcm > a.fcm]


_STUDIES = {
    "robotcar/paper": ("table3_robotcar.csv", "Table III, Oxford Radar RobotCar", (1.0, 4.0)),
    "cold/paper": ("table4_cold.csv", "Table IV, COLD Saarbruecken", (1.0, 2.0)),
}


@functools.cache
def study(dataset: str) -> Study | None:
    """The paper's table for a dataset's name, `builder/config`; None where the paper has no table.

    Other sequences of COLD or RobotCar are other datasets and have no table.
    """
    if dataset not in _STUDIES:
        return None
    file, title, claim = _STUDIES[dataset]
    with (pathlib.Path(__file__).parent / file).open(newline="") as rows:
        values = tuple(
            Published(
                Cell(row["loss"], row["pooling"], row["backbone"]),
                row["test"],
                float(row["tau_m"]),
                float(row["fcm_percent"]),
            )
            for row in csv.DictReader(rows)
        )
    return Study(dataset, title, claim, values)


def studies() -> tuple[Study, ...]:
    """Both tables."""
    return tuple(study(name) for name in _STUDIES)
