"""Random streams: pinned, distinct, and the same in every mode of JAX."""

import itertools
import subprocess
import sys

import jax
import numpy as np
import pytest

from tangentbench.tasks.streams import PURPOSES, generator, jax_key, stream_seed

PINNED = {
    "data": 1845525096944604122,
    "init": 7724787818299752873,
    "order": 6665374064593849198,
    "probe": 12579893878277004886,
    "metric": 1439671600693080436,
    "reference": 54502379482357129,
}


@pytest.mark.parametrize("purpose", PURPOSES)
def test_pinned(purpose):
    # A change of one of these numbers changes every result of the suite.
    assert stream_seed(3, purpose, 7) == PINNED[purpose]


def test_every_purpose_is_pinned():
    assert set(PINNED) == set(PURPOSES) == {"data", "init", "order", "probe", "metric", "reference"}


def collisions(seed_of) -> int:
    seeds = [seed_of(*name) for name in itertools.product(range(12), PURPOSES, range(12))]
    return len(seeds) - len(set(seeds))


def test_streams_are_distinct():
    assert collisions(stream_seed) == 0
    assert all(0 <= stream_seed(0, "data", seed) < 2**64 for seed in (-1, 0, 1_000_000, 2**70))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda stream, purpose, seed: stream + seed,
        lambda stream, purpose, seed: hash((stream, PURPOSES.index(purpose) + seed)),
        lambda stream, purpose, seed: stream_seed(0, "data", int(f"{stream}{seed}")),
    ],
)
def test_colliding_streams_are_noticed(wrong):
    assert collisions(wrong) > 0


def test_unknown_purpose():
    with pytest.raises(ValueError, match=r"unknown purpose 'weights'; .* data, init, order, probe, metric"):
        stream_seed(0, "weights", 0)  # pyright: ignore[reportArgumentType]


def test_generator():
    draws = [generator(1, "data", seed).standard_normal(1000) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert abs(np.corrcoef(draws[0], draws[2])[0, 1]) < 4 / np.sqrt(1000)
    assert type(generator(1, "data", 0).bit_generator) is np.random.PCG64


def test_key_has_the_same_bits_with_and_without_x64():
    draws = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            key = jax_key(1, "init", 5)
            draws.append((np.asarray(key), np.asarray(jax.random.bits(key, (8,), "uint32"))))
    np.testing.assert_array_equal(draws[0][0], draws[1][0])
    np.testing.assert_array_equal(draws[0][1], draws[1][1])
    seed = stream_seed(1, "init", 5)
    assert [int(word) for word in draws[0][0]] == [seed >> 32, seed % 2**32]


def test_key_is_the_one_that_jax_makes_of_the_whole_seed():
    with jax.enable_x64(True):
        key = jax.random.PRNGKey(np.uint64(stream_seed(1, "init", 5)))
    np.testing.assert_array_equal(np.asarray(key), np.asarray(jax_key(1, "init", 5)))


def test_module_does_not_import_jax():
    code = "import sys, tangentbench.tasks.streams, tangentbench.tasks.datasets; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
