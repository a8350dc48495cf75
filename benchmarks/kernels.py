"""The derivative kernels: seconds, peak memory, compile time, and the counts that no busy machine can move.

Operations, bytes and temporary memory are the compiler's own account of the compiled program (`cost_analysis`,
`memory_analysis`), and its text gives the number of instructions: exact, the same on every run, and different only when
the code or the compiler is. The body of a loop counts once, whatever its length: Lanczos' operations are those of one
step. tanh networks with two hidden layers of width 1024 on 100 inputs, float32, unless a class says otherwise.
"""

from __future__ import annotations

import time
from typing import Any

DIM = 100


def network(width: int = 1024, depth: int = 2, activation: str = "tanh") -> Any:
    import jax

    from tangentbench import models

    return models.Wide(DIM, 1, key=jax.random.PRNGKey(0), depth=depth, width=width, activation=activation)


def inputs(examples: int) -> Any:
    import jax

    return jax.random.normal(jax.random.PRNGKey(1), (examples, DIM))


class _Kernel:
    """What is differentiated, and on how many examples; the harness compiles and synchronises.

    asv makes a benchmark of each method that starts with `time`, `peakmem` or `track`.
    """

    timeout = 300
    version = "1"
    examples = 256

    def function(self, model: Any, x: Any) -> Any:
        raise NotImplementedError

    def model(self) -> Any:
        return network()

    def setup(self) -> None:
        from tangentbench import models

        self.params, self.rest = models.partition(self.model())
        self.x = inputs(self.examples)
        self.compiled = self.compile()
        self.answer()

    def compile(self) -> Any:
        import equinox as eqx
        import jax

        function = jax.jit(lambda params, x: self.function(eqx.combine(params, self.rest), x))
        return function.lower(self.params, self.x).compile()

    def answer(self) -> Any:
        import jax

        return jax.block_until_ready(self.compiled(self.params, self.x))

    def time_kernel(self) -> None:
        self.answer()

    def peakmem_kernel(self) -> None:
        """Of a process of its own, Python and the compiler included."""
        self.answer()

    def track_operations(self) -> float:
        return float(self.compiled.cost_analysis()["flops"])

    def track_bytes_accessed(self) -> float:
        return float(self.compiled.cost_analysis()["bytes accessed"])

    def track_temporary_bytes(self) -> float:
        return float(self.compiled.memory_analysis().temp_size_in_bytes)

    def track_instructions(self) -> float:
        return float(sum(" = " in line for line in self.compiled.as_text().splitlines()))

    def track_compile(self) -> dict[str, Any]:
        """Tracing and compiling, five times; nothing is kept between them, on disk neither."""
        import jax

        seconds = []
        for _ in range(5):
            jax.clear_caches()
            start = time.perf_counter()
            self.compile()
            seconds.append(time.perf_counter() - start)
        return {"samples": seconds, "number": 1}

    time_kernel.version = peakmem_kernel.version = version  # pyright: ignore[reportFunctionMemberAccess]
    track_operations.unit = "FLOP"  # pyright: ignore[reportFunctionMemberAccess]
    track_bytes_accessed.unit = track_temporary_bytes.unit = "B"  # pyright: ignore[reportFunctionMemberAccess]
    track_instructions.unit = "instructions"  # pyright: ignore[reportFunctionMemberAccess]
    track_compile.unit = "s"  # pyright: ignore[reportFunctionMemberAccess]
    for _exact in (track_operations, track_bytes_accessed, track_temporary_bytes, track_instructions):
        _exact.exact = True  # pyright: ignore[reportFunctionMemberAccess]


class TangentKernel(_Kernel):
    """All pairs of 256 examples."""

    def function(self, model: Any, x: Any) -> Any:
        from tangentbench.models.kernels import tangent_kernel

        return tangent_kernel(model, x)


class TangentKernelOfQuadraticModel(TangentKernel):
    """The same of the second-order expansion, away from where it was expanded."""

    def model(self) -> Any:
        import equinox as eqx
        import jax

        from tangentbench import models

        expansion = models.expand(network(), "quadratic")
        params, rest = models.partition(expansion)
        return eqx.combine(jax.tree.map(lambda w: 1.01 * w, params), rest)


class KernelNorm(_Kernel):
    """Largest eigenvalue of the tangent kernel of 256 examples, with its residual."""

    def function(self, model: Any, x: Any) -> Any:
        import jax

        from tangentbench.models.kernels import kernel_norm, tangent_kernel

        return kernel_norm(tangent_kernel(model, x), jax.random.PRNGKey(2))


class TopEigenpairs(_Kernel):
    """Five leading eigenpairs of the tangent kernel of 256 examples."""

    def function(self, model: Any, x: Any) -> Any:
        import jax

        from tangentbench.models.kernels import tangent_kernel, top_eigenpairs

        return top_eigenpairs(tangent_kernel(model, x), 5, jax.random.PRNGKey(2))


class HessianNorms(_Kernel):
    """Norm of the predictor's Hessian on each of 64 examples, 32 Lanczos steps."""

    examples = 64

    def function(self, model: Any, x: Any) -> Any:
        import jax

        from tangentbench.models.kernels import predictor_hessian_norms

        return predictor_hessian_norms(model, x, jax.random.PRNGKey(2), 32)


class Sharpness(_Kernel):
    """Largest eigenvalue of the Hessian of the mean square on 32 examples; width 256."""

    examples = 32

    def model(self) -> Any:
        return network(256)

    def function(self, model: Any, x: Any) -> Any:
        import jax

        from tangentbench.models.kernels import loss_hessian_top
        from tangentbench.tasks.losses import LOSSES

        return loss_hessian_top(model, LOSSES["mse"].value, x, x[:, :1], jax.random.PRNGKey(2))


class Agop(_Kernel):
    """Average gradient outer product over 2000 examples."""

    examples = 2000

    def function(self, model: Any, x: Any) -> Any:
        from tangentbench.models.kernels import agop

        return agop(model, x)


class WorstDirection(_Kernel):
    """Largest error of the linear expansion in a ball of radius 1, on 4 examples; width 256."""

    examples = 4

    def model(self) -> Any:
        return network(256)

    def function(self, model: Any, x: Any) -> Any:
        import jax

        from tangentbench.models.kernels import worst_direction_error

        return worst_direction_error(model, x, jax.random.PRNGKey(2), against="linear")
