"""The builders' one error names what is wrong with the raw data, where, and what to do."""


class RawDataError(Exception):
    """Unusable raw data or config, which the command line prints before it exits with 2.

    Attributes:
      problems: one sentence per problem, each with its file and line (or image).
    """

    def __init__(self, *problems: str):
        """Keeps every problem, so that one run names all.

        Bytes of a file's name that are not UTF-8 become escapes, which any terminal or log takes.
        """
        self.problems = [p.encode("utf-8", "backslashreplace").decode() for p in problems]
        super().__init__("\n".join(self.problems))
