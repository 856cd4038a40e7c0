"""Order and errors of work done ahead."""

import weakref

import pytest

from vprjax.runtime.prefetch import prefetch


def test_keeps_order_and_passes_errors_on():
    def produce(n):
        if n == 7:
            raise ValueError("broken image 7")
        return {"n": n}

    assert [(n, b["n"]) for n, b in prefetch(produce, 2, 6)] == [(n, n) for n in range(2, 6)]
    with pytest.raises(ValueError, match="broken image 7"):
        list(prefetch(produce, 5, 10))


def test_what_was_yielded_is_not_held():
    class Batch:
        pass

    for _, batch in prefetch(lambda n: Batch(), 0, 4, depth=1):
        held = weakref.ref(batch)
        del batch
        assert held() is None
