"""Block sizes that keep a search within a memory budget."""

import dataclasses
import math

FLOAT = 4
GROUP = 32  # columns per minimum in the first pass of top-k; see `scan`
MOST_QUERIES, MOST_REFERENCES = 8192, 8192  # rows past which a larger block is no faster
CACHED_QUERIES = 512  # queries whose distances to a block of references fit a processor's cache
CACHED_COLUMNS = 4096  # dimensions past which cutting the queries costs more than the cache saves


class TooLittleMemory(ValueError):
    """The budget is too small for any block."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of the blocks of one search.

    Attributes:
      query_rows: queries searched at once against all references; a multiple of `parts`.
      parts: parts of these queries that meet a block of references one after the other.
      reference_rows: references per block, over all devices; a multiple of `devices * GROUP`.
      columns: descriptor dimensions multiplied at once.
      kept: candidates kept per query.
      bytes: peak size of this process's blocks, with copies on the host.
    """

    query_rows: int
    parts: int
    reference_rows: int
    columns: int
    kept: int
    bytes: int

    def __str__(self) -> str:
        return (
            f"blocks of {self.query_rows:,} queries x {self.reference_rows:,} references x "
            f"{self.columns:,} dimensions, at most {self.bytes / 2**20:,.0f} MiB"
        )


def make(
    queries: int, references: int, dimension: int, kept: int, memory_bytes: int, devices: int = 1
) -> Plan:
    """The largest useful blocks within `memory_bytes`.

    In float32, a plan counts queries twice (host and device) and references five times: one block in
    use, a product's packed copy of it, and one block ahead on the host, on the device and in its file's
    pages. It counts distances three times, for the passes of top-k, and the candidates. If small blocks
    of whole rows do not fit, the descriptor axis is cut too.

    Raises:
      TooLittleMemory: the budget is too small for any block; the message names the smallest that suffices.
    """
    unit = devices * GROUP
    most = math.ceil(min(references, MOST_REFERENCES * devices) / unit) * unit

    def size(q: int, r: int, c: int) -> int:
        whole = 2 if c == dimension else 4  # Cut queries are read ahead like references.
        return FLOAT * (whole * q * c + 5 * r * c + 3 * q * r + 8 * q * kept * devices)

    columns = dimension
    while columns > 256 and size(min(queries, 64), unit, columns) > memory_bytes:
        columns = math.ceil(columns / 2)
    if (smallest := size(1, unit, columns)) > memory_bytes:
        raise TooLittleMemory(
            f"a search in {memory_bytes:,} bytes is not possible: descriptors of {dimension:,} "
            f"dimensions on {devices} devices need at least {smallest:,}"
        )
    rows = most
    # References get at most half the budget. Queries get the rest, as they save passes over references.
    while rows > unit and size(1, rows, columns) > memory_bytes / 2:
        rows -= unit
    q = min(queries, MOST_QUERIES)
    rows = math.ceil(references / math.ceil(references / rows) / unit) * unit
    fixed, each = size(0, rows, columns), size(1, rows, columns) - size(0, rows, columns)
    q = max(1, min(q, (memory_bytes - fixed) // each - MOST_QUERIES // CACHED_QUERIES))
    q = math.ceil(queries / math.ceil(queries / q))  # equal blocks need little padding
    parts = math.ceil(q / CACHED_QUERIES) if dimension <= CACHED_COLUMNS else 1
    q = math.ceil(q / parts) * parts
    return Plan(q, parts, rows, columns, kept, size(q, rows, columns))
