"""The one error of the builders: what is wrong with the raw data, where, and what to do."""


class RawDataError(Exception):
    """Raw data or a builder config that cannot be used; the command line prints it and exits with 2.

    Attributes:
      problems: one clear sentence per problem, each naming the file and line (or image).
    """

    def __init__(self, *problems: str):
        """Keeps every problem, so that one run names all of them."""
        super().__init__("\n".join(problems))
        self.problems = list(problems)
