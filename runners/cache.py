"""Compiled programs kept on disk between calls, so that a second run compiles nothing.

They lie in the user's cache folder. `TANGENTBENCH_CACHE` names another folder, or is `off`; a cache that JAX was told
to use by its own variable `JAX_COMPILATION_CACHE_DIR` is left as it is. A folder that cannot be written costs only
time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

VARIABLE = "TANGENTBENCH_CACHE"
OFF = "off"
WORTH_SECONDS = 0.1  # what compiles faster than this is compiled again
BYTES = 2**30  # then the least recently used programs go


def folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where compiled programs are kept; ``None`` if they are not, or not by us."""
    chosen = environment.get(VARIABLE, "")
    if chosen.lower() == OFF or (not chosen and environment.get("JAX_COMPILATION_CACHE_DIR")):
        return None
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("tangentbench") / "compiled"


def enable(environment: Mapping[str, str] = os.environ) -> None:
    """Lets JAX, in this process, keep what it compiles in `folder`."""
    place = folder(environment)
    if place is None:
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_compilation_cache_max_size", BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_SECONDS)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
