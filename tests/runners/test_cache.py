"""Compiled programs are kept where the user says, found by the next process, and never in the way."""

import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from tangentbench.runners import cache

PROGRAM = """
import sys
import jax, jax.numpy as jnp
from tangentbench.runners import cache, compiled
compiled.WORTH_SECONDS = 0.0
compiled.keep(cache.folder())
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x)).lower(jnp.ones((9, 9))).compile()
print(hits.count("/jax/compilation_cache/cache_hits"), jnp.float32(1) + 1)
"""


def test_the_folder_is_the_users_and_can_be_chosen():
    assert cache.folder({}) == platformdirs.user_cache_path("tangentbench") / "compiled"
    assert cache.folder({"TANGENTBENCH_CACHE": "~/x"}) == Path.home() / "x"
    assert cache.folder({"TANGENTBENCH_CACHE": "Off"}) is None
    assert cache.folder({"JAX_COMPILATION_CACHE_DIR": "x"}) is None
    assert cache.folder({"JAX_COMPILATION_CACHE_DIR": "x", "TANGENTBENCH_CACHE": "y"}) == Path("y")


def hits(monkeypatch, value):
    monkeypatch.setenv("TANGENTBENCH_CACHE", str(value))
    words = [sys.executable, "-P", "-c", PROGRAM]
    found, two = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert two == "2.0"
    return int(found)


def test_the_next_process_compiles_nothing(tmp_path, monkeypatch):
    assert hits(monkeypatch, tmp_path) == 0
    assert any(tmp_path.iterdir())
    assert hits(monkeypatch, tmp_path) > 0


@pytest.mark.parametrize("obstacle", ["a file in the way", "a damaged program"])
def test_a_bad_cache_only_costs_time(tmp_path, monkeypatch, obstacle):
    place = tmp_path / "compiled"
    if obstacle == "a file in the way":
        place.write_text("not a folder")
    else:
        hits(monkeypatch, place)
        for file in place.iterdir():
            file.write_bytes(b"damaged")
    hits(monkeypatch, place)  # asserts that the numbers come out
