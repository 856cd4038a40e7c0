"""The one error of the builders: what is wrong with the raw data, where, and what to do."""


class RawDataError(Exception):
    """Raw data or a builder config that cannot be used; the command line prints it and exits with 2.

    Attributes:
      problems: one clear sentence per problem, each naming the file and line (or image).
    """

    def __init__(self, *problems: str):
        """Keeps every problem, so that one run names all of them.

        Bytes of a file's name that are no UTF-8 are told as escapes: a terminal or log takes no others.
        """
        self.problems = [p.encode("utf-8", "backslashreplace").decode() for p in problems]
        super().__init__("\n".join(self.problems))
