"""Functions compiled ahead of time, shared by all batches of a worker that need the same ones.

The methods of an arena share the measurements at both ends; the two searches of one boundary share everything. A key
says what a function means, the shapes of its arguments do the rest.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

KEPT = 128
WORTH_SECONDS = 0.1  # what compiles faster than this is compiled again by the next process
BYTES = 2**30  # of programs on disk; then the least recently used go
# LLVM's effort on a CPU. Level 1 compiles twice as fast as the default and runs as fast, since the time is in library
# calls and fused loops; what runs once per seed is not worth even that.
TRAINING, ONCE = 1, 0
# The older emitters of fused loops compile in half the time, and their loops take up to 1.5 times as long: only for
# what runs once. Newer versions of XLA have none.
EMITTERS: dict[str, str | bool] = {"xla_cpu_use_fusion_emitters": False}


@functools.lru_cache(maxsize=1)
def _emitters() -> dict[str, str | bool]:
    """`EMITTERS`, if this version of XLA knows the option."""
    try:
        jax.jit(jnp.negative).lower(jax.ShapeDtypeStruct((1,), jnp.float32)).compile(EMITTERS)
    except jax.errors.JaxRuntimeError:
        return {}
    return EMITTERS


def options(effort: int) -> dict[str, Any] | None:
    """Compiler options for a function worth this effort; none on an accelerator."""
    if jax.default_backend() != "cpu":
        return None
    return {"xla_backend_optimization_level": effort} | (_emitters() if effort == ONCE else {})


def keep(place: Path) -> None:
    """Lets JAX, in this process, keep what it compiles in a folder; one that cannot be made costs only time."""
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(place))
        jax.config.update("jax_compilation_cache_max_size", BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_SECONDS)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


class Compiled:
    """A cache of compiled functions; ``seconds`` is the time spent compiling so far."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._functions: OrderedDict[Any, Callable[..., Any]] = OrderedDict()

    def __call__(self, key: str, make: Callable[[], Any], *args: Any, effort: int = ONCE) -> Any:
        """Calls the function of this key; ``make`` gives the jitted function to compile if it is new."""
        shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(args))
        full = (key, jax.tree.structure(args), shapes)
        if full not in self._functions:
            began = time.perf_counter()
            self._functions[full] = make().lower(*args).compile(options(effort))
            self.seconds += time.perf_counter() - began
            while len(self._functions) > KEPT:
                self._functions.popitem(last=False)
        self._functions.move_to_end(full)
        return self._functions[full](*args)
