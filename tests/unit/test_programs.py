import jax
import jax.numpy as jnp
import pytest

from tests.helpers import programs


@pytest.mark.skipif(not programs.MAPS.exists(), reason="the system tells no memory maps")
def test_programs_are_dropped_beyond_the_limit_alone():
    double = jax.pmap(lambda x: jnp.sin(x) * 2)
    for width in range(1, 6):
        double(jnp.ones((jax.device_count(), width)))
    compiled = programs.memory_maps()
    programs.drop_beyond(compiled + 1000)
    kept = programs.memory_maps()
    programs.drop_beyond(100)
    assert programs.memory_maps() < kept - 50
    assert kept > compiled - 50
