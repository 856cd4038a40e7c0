"""A table of texts as Markdown and LaTeX, and the form of the study's names and figures."""

import dataclasses
import pathlib

from analysis.scores import OFF_THE_SHELF, PROJECTED, Mean
from vprjax.errors import ConfigError
from vprjax.report import published
from vprjax.storage.atomic import check_own, write_atomically

NAMES = {
    **published.NAMES,
    OFF_THE_SHELF: "off the shelf",
    PROJECTED: "off the shelf, projected",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Text in rows; `words` columns of words come first, figures after.

    Attributes:
      title: one line.
      head: names of the columns.
      rows: one text per column.
      words: number of columns that hold words.
      notes: sentences below the table.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    words: int
    notes: list[str]

    def markdown(self) -> str:
        """The title, table and notes as Markdown."""
        return f"## {self.title}\n\n{self.body()}"

    def body(self) -> str:
        """The table and notes as Markdown."""
        marks = ["---"] * self.words + ["---:"] * (len(self.head) - self.words)
        lines = ["| " + " | ".join(row) + " |" for row in (self.head, marks, *self.rows)]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)])

    def show(self, out: pathlib.Path | None) -> None:
        """Prints the Markdown, and writes it to the file `out` unless that is None."""
        print(self.markdown())
        if out:
            write_atomically(out, self.markdown() + "\n")

    def latex(self) -> str:
        """A LaTeX `table` no wider than the text; it needs the packages booktabs and graphicx."""
        columns = "l" * self.words + "r" * (len(self.head) - self.words)
        lines = [" & ".join(map(_latex, row)) + r" \\" for row in (self.head, *self.rows)]
        lines[0] += r" \midrule"
        body = "\n".join(lines)
        caption = _latex(" ".join([f"{self.title}.", *self.notes]))
        return (
            "\\begin{table}\n\\centering\n\\caption{" + caption + "}\n"
            "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
            f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n"
            "\\end{tabular}}\n\\end{table}"
        )


def check_out(option: str, out: pathlib.Path | None, start: str) -> None:
    """Checks the file of a command's `option`, or None; its own files begin with `start`.

    Raises:
      ConfigError: its folder is missing, or the command did not write it.
    """
    if out is None:
        return
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ConfigError(f"{option}={out} must name a file in a folder that exists")
    check_own(option, out, start)


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {sign: "\\" + sign for sign in "&%$#_{}"}
    special |= {"−": "$-$", "±": r"$\pm$"}
    return "".join(special.get(sign, sign) for sign in text)


def shown(found: Mean | None) -> str:
    """`12.34 [10.00, 14.00]`; empty for None."""
    if found is None:
        return ""
    bounds = " [{:.2f}, {:.2f}]".format(*found.interval) if found.interval else ""
    return f"{found.mean:.2f}{bounds}".replace("-", "−")  # Student's may reach below 0


def signed(value: float) -> str:
    """`+1.20`, `−1.20`, `0.00`."""
    text = f"{abs(value):.2f}"
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def difference(found: Mean | None) -> str:
    """`+1.20 [−0.30, +2.70]`; empty for None."""
    if found is None:
        return ""
    bounds = " [{}, {}]".format(*map(signed, found.interval)) if found.interval else ""
    return signed(found.mean) + bounds
