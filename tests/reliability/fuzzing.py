"""Hostile inputs for parsers of other people's files, and the bounds that every input must keep.

Inputs are valid files with bytes flipped, cut, doubled, moved, and values put in that parsers trip
over, or plain random bytes. `VPRJAX_FUZZ` sets how many a parser gets (60; the long form has 10000).
"""

import contextlib
import os
import resource
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TRIALS = int(os.environ.get("VPRJAX_FUZZ", "60"))
CPU_SECONDS = 10  # an input; processor time, so that a machine that is paused fails nothing
MEMORY = 3 << 30  # bytes that an input may ask for on top of what the process has
NASTY = (
    b"nan", b"-inf", b"1e309", b"-1e300", b"1e18", b"9" * 19, b"9" * 40, b"9" * 5000, b"-1", b"0x10",
    b"1_0", b"\0", b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n", b"\n\n", b"\r", b",", b'"', b"'", b";", b"\t",
    "٣".encode(), "²".encode(), "\u2028".encode(), b"\xed\xa0\x80", b"\x85", b"\x1c", b"a" * 200_000,
    b"\0" * 600, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"../", b"/", b"<script>",
)  # fmt: skip


class Raw(bytes):
    """Bytes whose repr fits on a screen; the same inputs come again, so that none is lost."""

    def __repr__(self):
        text = super().__repr__()
        return text if len(text) < 3000 else f"{text[:1500]} ... {text[-1500:]}"


@st.composite
def mutated(draw, valid):
    """One of the `valid` files, changed in up to six places."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3, 6)))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((1, 2, 4, 8, 64, 1024)))
        change = draw(st.sampled_from(("flip", "set", "cut", "drop", "double", "nasty", "move")))
        part = data[at : at + length]
        if change == "flip":
            data[at : at + 1] = bytes(b ^ (1 << draw(st.integers(0, 7))) for b in data[at : at + 1])
        elif change == "set":
            data[at : at + 1] = bytes((draw(st.sampled_from((0, 1, 9, 32, 48, 127, 128, 255))),))
        elif change == "cut":
            del data[at:]
        elif change == "drop":
            del data[at : at + length]
        elif change == "double":
            data[at:at] = part
        elif change == "nasty":
            data[at : at + draw(st.sampled_from((0, 1, 8)))] = draw(st.sampled_from(NASTY))
        else:
            del data[at : at + length]
            there = draw(st.integers(0, len(data)))
            data[there:there] = part
    return Raw(data)


def files(valid):
    """Mutated ones mostly; one in eight each is random bytes, only cut, and as it was.

    Without the last a parser that finds nearly every fault may refuse all of a short run's inputs.
    """
    cut = st.builds(
        lambda data, share: Raw(data[: int(share * len(data))]),
        st.sampled_from(valid),
        st.floats(0, 1),
    )
    whole = st.sampled_from(valid).map(Raw)
    return st.sampled_from(range(8)).flatmap(
        lambda kind: {0: st.binary(max_size=200), 1: cut, 2: whole}.get(kind, mutated(valid))
    )


def fuzz(**strategies):
    """A test that runs for `TRIALS` inputs, always the same ones, and tells how many it had."""

    def decorate(test):
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
        checks += [HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
        return settings(
            max_examples=TRIALS,
            derandomize=True,
            deadline=None,  # wall time; `outcome` bounds processor time
            suppress_health_check=checks,
        )(given(**strategies)(test))

    return decorate


class Outcomes:
    """Counts how the inputs of a parser ended."""

    def __init__(self, name: str, *errors: type[Exception]):
        """`errors`: the project's own, the only ones that may come out."""
        self.name, self.errors = name, errors
        self.read = self.refused = 0
        self.slowest = 0.0

    def of(self, parse):
        """What `parse()` gives; None where it refuses with a sentence of its own."""
        start = time.process_time()
        try:
            with _memory_limit():
                found = parse()
        except self.errors as error:
            self._refused(str(error))
            found = None
        else:
            self.read += 1
        self.slowest = max(self.slowest, time.process_time() - start)
        assert self.slowest < CPU_SECONDS
        return found

    def _refused(self, text: str) -> None:
        self.refused += 1
        for sentence in text.split("\n  ")[:1]:
            assert sentence.strip() and "Traceback" not in text

    def tell(self) -> None:
        """Prints the count; both kinds must have come up, else the inputs test nothing."""
        print(
            f"fuzz: {self.name}: {self.read + self.refused} inputs, {self.read} read, "
            f"{self.refused} refused, slowest {self.slowest:.2f} s"
        )
        assert self.refused and self.read


@contextlib.contextmanager
def _memory_limit():
    """Who asks for more memory gets a MemoryError, which is no error of the project's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
