"""The builders' one error names what is wrong with the raw data, where, and what to do."""

import re

MOST = 5  # problems of one kind that are shown in full
# What differs between two problems of one kind: the file at the start, quoted texts, paths, numbers.
FILE = re.compile(r"^[^:]*?\.\w{1,9}(?=[: ])")
# A path begins a word or follows a quote: tried at every letter, a name of 100,000 would take a minute.
DETAILS = re.compile(
    r"'[^']*'|\"[^\"]*\"|(?<![^\s'\"])[^\s/]*/\S*|[+-]?\d[\w.,+-]*|\b(nan|inf)\b"
)


class RawDataError(Exception):
    """Unusable raw data or config, which the command line prints before it exits with 2.

    Attributes:
      problems: one sentence per problem, each with its file and line (or image).
    """

    def __init__(self, *problems: str):
        """Keeps every problem, so that one run names all; the text shows `MOST` of each kind.

        Bytes of a file's name that are not UTF-8 become escapes, which any terminal or log takes.
        """
        self.problems = [p.encode("utf-8", "backslashreplace").decode() for p in problems]
        super().__init__("\n".join(_shortened(self.problems)))


def _shortened(problems: list[str]) -> list[str]:
    """The problems, with the sixth and later of one kind replaced by their number."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(DETAILS.sub("*", FILE.sub("*", problem, count=1)), []).append(problem)
    if all(len(alike) <= MOST for alike in kinds.values()):
        return problems
    lines = []
    for alike in kinds.values():
        if len(alike) > MOST:
            lines.append(f"{len(alike):,} problems of one kind; the first {MOST}:")
        lines += alike[:MOST]
    return lines
