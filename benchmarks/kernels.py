"""The tangent kernel of a two-layer network: seconds, and the counts that no busy machine can move.

Operations and bytes are the compiler's own account of the compiled program (`cost_analysis`, `memory_analysis`): exact,
the same on every run, and different only when the code or the compiler is.
"""

from typing import Any

EXAMPLES, DIM, WIDTH = 256, 100, 1024


class TangentKernel:
    """n = 256 examples in 100 dimensions, width m = 1024, float32."""

    timeout = 300
    version = "1"

    def setup(self) -> None:
        import equinox as eqx
        import jax

        from tangentbench import models
        from tangentbench.models.kernels import tangent_kernel

        key, data = jax.random.split(jax.random.PRNGKey(0))
        model = models.Wide(DIM, 1, key=key, depth=1, width=WIDTH, activation="relu")
        self.params, rest = models.partition(model)
        self.x = jax.random.normal(data, (EXAMPLES, DIM))
        function = jax.jit(lambda params, x: tangent_kernel(eqx.combine(params, rest), x))
        self.compiled: Any = function.lower(self.params, self.x).compile()

    def time_kernel(self) -> None:
        self.compiled(self.params, self.x).block_until_ready()

    def track_operations(self) -> float:
        return float(self.compiled.cost_analysis()["flops"])

    def track_bytes_accessed(self) -> float:
        return float(self.compiled.cost_analysis()["bytes accessed"])

    def track_temporary_bytes(self) -> float:
        return float(self.compiled.memory_analysis().temp_size_in_bytes)

    time_kernel.version = version  # pyright: ignore[reportFunctionMemberAccess]
    track_operations.unit = "FLOP"  # pyright: ignore[reportFunctionMemberAccess]
    track_bytes_accessed.unit = "B"  # pyright: ignore[reportFunctionMemberAccess]
    track_temporary_bytes.unit = "B"  # pyright: ignore[reportFunctionMemberAccess]
