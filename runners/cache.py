"""Where compiled programs are kept between calls, so that a second run compiles nothing (`compiled.keep`).

They lie in the user's cache folder. `TANGENTBENCH_CACHE` names another folder, or is `off`; a cache that JAX was told
to use by its own variable `JAX_COMPILATION_CACHE_DIR` is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

VARIABLE = "TANGENTBENCH_CACHE"
OFF = "off"


def folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where compiled programs are kept; ``None`` if they are not, or not by us."""
    chosen = environment.get(VARIABLE, "")
    if chosen.lower() == OFF or (not chosen and environment.get("JAX_COMPILATION_CACHE_DIR")):
        return None
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("tangentbench") / "compiled"
