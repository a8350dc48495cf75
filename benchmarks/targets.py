"""How fast the derivative kernels are against what they are measured by: `python -m benchmarks.targets [ROW…]`.

Networks have two hidden layers of width m (three layers of weights), tanh, 100 inputs and one output, in float32,
unless a row says otherwise. Everything is compiled beforehand, and what is compared is timed in turns. Rows that need
other packages need their environments: `python -m benchmarks.foreign.setup FOLDER`, and then `--foreign FOLDER`.
"""

import argparse
import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tangentbench import models
from tangentbench.models import kernels

from .clock import Foreign, compiled, interleaved, timed
from .foreign import arrays, setup

DIM = 100
LEVELS = 4
MEBIBYTE = 2**20


class Line(NamedTuple):
    """A line of the table: what, ours, the other, and the ratio with its target; an empty one for what explains."""

    measure: str
    ours: str
    other: str
    ratio: float
    target: str

    @property
    def met(self) -> str:
        """Whether the ratio is at least, or at most, what the target says."""
        if not self.target:
            return ""
        sign, _, number = self.target.partition(" ")
        return "yes" if (self.ratio >= float(number) if sign == "≥" else self.ratio <= float(number)) else "no"


class Options(NamedTuple):
    """How often each way is timed, where the other environments are, and whether sizes are those of a test."""

    repeats: int
    foreign: Path | None
    small: bool

    def size(self, full: int) -> int:
        """A size, or a sixteenth of it in a test."""
        return max(8, full // 16) if self.small else full


Row = Callable[[Options], Iterator[Line]]


def network(width: int, dim: int = DIM, depth: int = 2) -> Any:
    """The network of `foreign.arrays`."""
    model = models.Wide(dim, 1, key=jax.random.PRNGKey(0), depth=depth, width=8, activation="tanh")
    layers = [models.Dense(jnp.asarray(w)) for w in arrays.weights(arrays.sizes(dim, width, depth))]
    return eqx.tree_at(lambda m: m.chain.layers, model, tuple(layers))


def inputs(n: int, dim: int = DIM) -> Any:
    return jnp.asarray(arrays.examples(n, dim))


def shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms"


def mean_output(model: Any, x: Any) -> Any:
    return jnp.mean(models.predict(model, x))


def step(model: Any, x: Any) -> Any:
    """One forward and one backward pass: the mean output and its gradient in all weights."""
    return eqx.filter_value_and_grad(mean_output)(model, x)


def versus(
    measure: str,
    ours: Callable[[], Any],
    other: Callable[[], Any],
    target: str,
    repeats: int,
    name: str = "",
    *,
    settle: bool = False,
) -> Line:
    """Ours over the other for a target "≤", the other over ours for "≥"."""
    mine, theirs = interleaved([timed(ours), timed(other)], repeats, settle=settle)
    ratio = theirs / mine if target.startswith("≥") else mine / theirs
    return Line(measure, shown(mine), f"{shown(theirs)} {name}".strip(), ratio, target)


def forward_backward(options: Options) -> Iterator[Line]:
    """Tangent kernel against one forward and backward pass."""
    n, m = options.size(256), options.size(4096)
    model, x = network(m), inputs(n)
    ours, other = compiled(kernels.tangent_kernel, model, x)[0], compiled(step, model, x)[0]
    yield versus(f"tangent kernel, n={n}, m={m}", ours, other, "≤ 1.3", options.repeats, "value and gradient")


def neural_tangents(options: Options) -> Iterator[Line]:
    """Tangent kernel against neural-tangents' structured derivatives, on the JAX that it runs on."""
    sizes = [(256, 4096, "≥ 1.4"), (512, 1024, "≥ 2"), *[(256, m, "≥ 1") for m in (64, 256, 1024, 8192)]]
    for n, m, target in sizes:
        n, m = options.size(n), options.size(m)
        ours, _ = compiled(kernels.tangent_kernel, network(m), inputs(n))
        python = foreign(options, "neural_tangents")
        with Foreign(python, "old_jax:tangent_kernel", n=n, width=m, dim=DIM) as other:
            mine, theirs = interleaved([timed(ours), other.seconds], options.repeats)
        agree(float(jnp.trace(ours())), other.value, 1e-4)
        yield Line(
            f"tangent kernel, n={n}, m={m}", shown(mine), f"{shown(theirs)} neural-tangents", theirs / mine, target
        )


def contraction(options: Options) -> Iterator[Line]:
    """Tangent kernel against the Jacobian, contracted: time, and temporary memory by the compiler's account."""
    n, m = options.size(256), options.size(1024)
    model, x = network(m), inputs(n)
    ours, mine = compiled(kernels.tangent_kernel, model, x)
    other, theirs = compiled(jacobian_kernel, model, x)
    agree(float(jnp.linalg.norm(ours() - other())), 0.0, 1e-3 * float(jnp.linalg.norm(other())))
    measure = f"tangent kernel, n={n}, m={m}"
    yield versus(measure, ours, other, "≥ 100", options.repeats, "Jacobian", settle=True)
    bytes_ = [program.memory_analysis().temp_size_in_bytes for program in (mine, theirs)]
    shares = [f"{size / MEBIBYTE:.1f} MiB" for size in bytes_]
    yield Line(f"{measure}, memory", shares[0], f"{shares[1]} Jacobian", bytes_[0] / bytes_[1], "≤ 0.01")


def jacobian_kernel(model: Any, x: Any) -> Any:
    """J Jᵀ from gradients of every example: what one would write."""
    params, rest = models.partition(model)
    rows = jax.vmap(lambda e: jax.grad(lambda p: eqx.combine(p, rest)(e)[0])(params))(x)
    return sum(leaf.reshape(len(x), -1) @ leaf.reshape(len(x), -1).T for leaf in jax.tree.leaves(rows))


def large(options: Options) -> Iterator[Line]:
    """Memory beyond the weights of a tangent kernel of a network with 270 million weights."""
    n, m = options.size(512), options.size(16384)
    ours, program = compiled(kernels.tangent_kernel, network(m), inputs(n))
    account = program.memory_analysis()
    counted = account.temp_size_in_bytes + account.output_size_in_bytes
    before = memory("VmRSS")
    reset_peak()
    (seconds,) = interleaved([timed(ours)], 1)
    gibibytes = max(counted, memory("VmHWM") - before) / 2**30
    measure = f"tangent kernel, n={n}, m={m}, memory"
    yield Line(measure, f"{gibibytes:.2f} GiB, {shown(seconds)}", "the weights", gibibytes, "≤ 4")


STATUS = Path("/proc/self/status")


def memory(field: str) -> int:
    """Memory of this process in bytes: resident (VmRSS), the largest so far (VmHWM); 0 where the system is no Linux."""
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def reset_peak() -> None:
    """Lets the largest memory so far start from what is resident now, where the system can."""
    with contextlib.suppress(OSError):
        STATUS.with_name("clear_refs").write_text("5")


def floor(options: Options) -> Iterator[Line]:
    """The matrix products that any tangent kernel of three dense layers takes, and nothing else, against the kernel."""
    n, m = options.size(512), options.size(1024)
    model, x = network(m), inputs(n)

    def products(model: Any, x: Any) -> Any:
        first, second, _ = (layer.weight for layer in model.chain.layers)
        a1 = x @ first.T
        a2 = a1 @ second.T
        b1 = a2 @ second
        return [v @ v.T for v in (x, a1, a2, b1, a2 - 1.0)]

    ours, other = compiled(kernels.tangent_kernel, model, x)[0], compiled(products, model, x)[0]
    yield versus(f"tangent kernel, n={n}, m={m}", ours, other, "", options.repeats, "its products alone")


def many_examples(options: Options) -> Iterator[Line]:
    """Memory beyond the result of a tangent kernel between 20,000 examples, in blocks."""
    n, m = options.size(20000), options.size(1024)
    model, x = network(m), inputs(n)
    kernels.kernel_in_blocks(model, x[: n // 8])
    before = memory("VmRSS")
    reset_peak()
    found = None

    def ours() -> None:
        nonlocal found
        found = kernels.kernel_in_blocks(model, x)

    seconds = timed(ours)()
    assert found is not None
    some = jnp.asarray([0, n // 2, n - 1])
    expected = kernels.tangent_kernel(model, x[some])
    agree(float(jnp.linalg.norm(found[np.ix_(some, some)] - expected)), 0.0, 1e-4 * float(jnp.linalg.norm(expected)))
    result = found.nbytes / 2**30
    gibibytes = (memory("VmHWM") - before) / 2**30 - result
    measure = f"tangent kernel in blocks, n={n}, m={m}, memory beyond the result"
    yield Line(measure, f"{gibibytes:.2f} GiB, {shown(seconds)}", f"{result:.2f} GiB result", gibibytes, "")


def quadratic(options: Options) -> Iterator[Line]:
    """Full-batch steps of the quadratic expansion with its tangent kernel before each; two layers as in arXiv
    2205.11787, and three. Gradient and kernel together, apart, and the gradient alone."""
    n, m, steps = options.size(128), options.size(1024), 4
    x, y = inputs(n), jnp.asarray(arrays.targets(n))

    def mse(f: Any, y: Any) -> Any:
        return jnp.mean((f - y) ** 2)

    def apart(kernel: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any, Any], Any]:
        def slope(model: Any, x: Any, y: Any) -> Any:
            value, gradient = eqx.filter_value_and_grad(lambda m: mse(models.predict(m, x), y))(model)
            found = jnp.zeros((1, 1)) if kernel is None else kernel(model, x)
            return kernels.Slope(value, models.partition(gradient)[0], found)

        return slope

    def together(model: Any, x: Any, y: Any) -> Any:
        return kernels.slope_and_kernel(model, mse, x, y)

    def training(slope: Callable[[Any, Any, Any], Any]) -> Any:
        def run(model: Any, x: Any, y: Any) -> Any:
            params, rest = models.partition(model)

            def advance(params: Any, _: None) -> tuple[Any, Any]:
                found = slope(eqx.combine(params, rest), x, y)
                moved = jax.tree.map(lambda w, g: w - 0.05 * g, params, found.gradient)
                return moved, (found.value, jnp.linalg.norm(found.kernel))

            return jax.lax.scan(advance, params, None, length=steps)[1]

        return run

    ways = (together, apart(jacobian_kernel), apart(kernels.tangent_kernel), apart(None))
    for depth in (1, 2):
        model = models.expand(network(m, depth=depth), "quadratic")
        ran = [compiled(training(way), model, x, y)[0] for way in ways]
        for way in ran[1:]:
            agree(float(way()[0][-1]), float(ran[0]()[0][-1]), 1e-3)
        for way in ran[1:3]:
            agree(float(way()[1][-1]), float(ran[0]()[1][-1]), 1e-3)
        mine, theirs, two, alone = interleaved([timed(way) for way in ran], options.repeats, settle=True)
        measure = f"{steps} steps of the quadratic model, {depth + 1} layers, n={n}, m={m}"
        yield Line(f"{measure}, with its kernel", shown(mine), f"{shown(theirs)} Jacobian", theirs / mine, "≥ 40")
        yield Line(f"{measure}, with its kernel", shown(mine), f"{shown(two)} kernel apart", two / mine, "")
        yield Line(f"{measure}, with its kernel", shown(mine), f"{shown(alone)} no kernel", alone / mine, "")


def sparse(options: Options) -> Iterator[Line]:
    """Levels of a graph in which every node reads few of the values: gathered against masked products.

    Four levels in a row, since gathered ones keep the examples in the trailing axis from the first to the last; of one
    level alone the change of axes at both ends is about half the time.
    """
    from tangentbench.models import sparse as layers

    n, size, degree = options.size(256), options.size(512), options.size(16) if options.small else 16
    rng = np.random.default_rng(0)
    mask = np.zeros((size, size), bool)
    for row in mask:
        row[rng.choice(size, degree, replace=False)] = True
    weight = np.where(mask, rng.standard_normal((size, size)), 0).astype(np.float32)
    x, b = inputs(n, size), jnp.asarray(rng.standard_normal((n, size)), jnp.float32)
    gathered = [layers.gathered(mask, jnp.asarray(weight[mask].reshape(size, degree)))] * LEVELS
    masked = [layers.masked(mask, jnp.asarray(weight))] * LEVELS

    def one_level(levels: Any, x: Any) -> Any:
        return jax.vmap(levels[0])(x)

    def forward(levels: Any, x: Any) -> Any:
        def through(a: Any) -> Any:
            for level in levels[:-1]:
                a = jnp.tanh(level(a))
            return levels[-1](a)

        return jax.vmap(through)(x)

    def both(levels: Any, x: Any, b: Any) -> Any:
        params, rest = models.partition(levels)
        out, pull = jax.vjp(lambda p, x: forward(eqx.combine(p, rest), x), params, x)
        return out, pull(b)

    def kernel(levels: Any, x: Any, b: Any) -> Any:
        terms = models.layers.Factors(x[None], b[None, :, None])
        return levels[0].gram(terms, terms)

    for name, function, given, target in (
        (f"forward, {LEVELS} levels", forward, (x,), "≤ 0.35"),
        ("forward, one level", one_level, (x,), ""),
        (f"forward and backward, {LEVELS} levels", both, (x, b), "≤ 0.6"),
        ("tangent kernel of a level", kernel, (x, b), "≤ 0.5"),
    ):
        ours, other = (compiled(function, levels, *given)[0] for levels in (gathered, masked))
        for found, expected in zip(jax.tree.leaves(ours())[:1], jax.tree.leaves(other())[:1], strict=True):
            agree(float(jnp.linalg.norm(found - expected)), 0.0, 1e-4 * float(jnp.linalg.norm(expected)))
        measure = f"{degree} of {size} inputs, {name}, n={n}"
        yield versus(measure, ours, other, target, options.repeats, "masked")


def lambda_max(options: Options) -> Iterator[Line]:
    """The compiled runner's step with the kernel's largest eigenvalue before it, over the step without."""
    from tangentbench.runners import train
    from tangentbench.tasks import load

    path = str(Path(__file__).resolve().parent / "lambda_max.yaml")
    (cell,) = load.cells(load.load_task(path, tier="smoke" if options.small else "laptop"))
    ways = []
    for one in (cell, cell.model_copy(update={"metrics": []})):
        trainer = train.Trainer(one, 0)
        lane = trainer.begin(one, 0)[0]._replace(learning_rate=jnp.asarray(0.05, trainer.program.dtype))
        ways.append(functools.partial(trainer.train, [lane], 1, lambda fraction: None))
    measure = f"step of the runner with λmax, n={cell.dataset['train']}, m={cell.model['width']}"
    with_, without = (
        seconds / cell.stop["steps"] for seconds in interleaved([timed(w) for w in ways], options.repeats)
    )
    yield Line(measure, shown(with_), f"{shown(without)} without", with_ / without, "≤ 2")


def hessian_norm(options: Options) -> Iterator[Line]:
    """The predictor's Hessian norm to a thousandth, per example."""
    n, m, steps = options.size(64), options.size(1024), 40
    model, x = network(m), inputs(n)

    def norms(model: Any, x: Any, seed: int, steps: int) -> Any:
        return kernels.predictor_hessian_norms(model, x, jax.random.PRNGKey(seed), steps)

    ours, _ = compiled(functools.partial(norms, seed=2, steps=steps), model, x)
    truth, _ = compiled(functools.partial(norms, seed=3, steps=2 * steps), model, x)
    off = float(jnp.max(jnp.abs(ours()[0] / truth()[0] - 1)))
    agree(off, 0.0, 1e-3)
    few = min(4, n)
    other, _ = compiled(functools.partial(norms_in_weights, steps=steps), model, x[:few])
    agree(float(jnp.max(jnp.abs(other()[0] / truth()[0][:few] - 1))), 0.0, 1e-3)
    measure = f"norm of the predictor's Hessian to {off:.0e}, m={m}, per example"
    mine, theirs = interleaved([timed(ours), timed(other)], options.repeats)
    mine, theirs = mine / n, theirs / few
    yield Line(measure, shown(mine), f"{shown(theirs)} Lanczos in the weights", theirs / mine, "≥ 40")
    python = foreign(options, "torch")
    for name, job in (("curvlinops", "curvlinops_norm"), ("PyHessian", "pyhessian_norm")):
        with Foreign(python, f"torch_jobs:{job}", width=m, dim=DIM, tolerance=1e-3) as way:
            mine, theirs = interleaved([timed(ours), way.seconds], min(3, options.repeats))
        agree(way.value, float(truth()[0][0]), 2e-2)
        yield Line(measure, shown(mine / n), f"{shown(theirs)} {name}", theirs / (mine / n), "≥ 40")


def norms_in_weights(model: Any, x: Any, steps: int) -> Any:
    """Lanczos without reorthogonalisation on Hessian–vector products in the weights, all examples side by side."""
    from jax.flatten_util import ravel_pytree

    params, rest = models.partition(model)
    origin, unravel = ravel_pytree(params)

    def one(example: Any, key: Any) -> Any:
        product = jax.linearize(jax.grad(lambda w: eqx.combine(unravel(w), rest)(example)[0]), origin)[1]
        estimate, _ = kernels.recurrence_extreme(product, jax.random.normal(key, origin.shape, origin.dtype), steps)
        return jnp.abs(estimate.value), estimate.residual

    return jax.vmap(one)(x, jax.random.split(jax.random.PRNGKey(2), len(x)))


def agop(options: Options) -> Iterator[Line]:
    """The average gradient outer product against the mean output and its gradient in the inputs."""
    n, m, d = options.size(2000), options.size(1024), options.size(784)
    model, x = network(m, d), inputs(n, d)
    ours, _ = compiled(kernels.agop, model, x)
    other, _ = compiled(lambda model, x: jax.value_and_grad(lambda x: mean_output(model, x))(x), model, x)
    yield versus(f"AGOP, n={n}, d={d}, m={m}", ours, other, "≤ 1.5", options.repeats, "value and gradient")


def sharpness(options: Options) -> Iterator[Line]:
    """Gradient descent with the loss Hessian's largest eigenvalue before each step, per step, as the runner has it."""
    from tangentbench.runners.build import FRESH

    n, m, steps, rate = options.size(128), options.size(1024), 200, 0.05
    x, y = inputs(n), jnp.asarray(arrays.targets(n))

    def mse(f: Any, y: Any) -> Any:
        return jnp.mean((f - y) ** 2)

    def run(model: Any, x: Any, y: Any, steps: int) -> Any:
        params, rest = models.partition(model)
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        start = jax.random.normal(jax.random.PRNGKey(5), (2, size))

        def advance(carry: tuple[Any, Any], index: Any) -> tuple[Any, Any]:
            params, vectors = carry
            afresh = index % FRESH == 0
            vectors = vectors.at[0].set(jnp.where(afresh, start[0], vectors[0]))
            top, vectors = kernels.loss_hessian_top_from(eqx.combine(params, rest), mse, x, y, vectors, fresh=afresh)
            slope = jax.grad(lambda p: mse(models.predict(eqx.combine(p, rest), x), y))(params)
            return (jax.tree.map(lambda w, g: w - rate * g, params, slope), vectors), top

        return jax.lax.scan(advance, (params, start), jnp.arange(steps))[1]

    theirs_steps = 5
    ours, _ = compiled(functools.partial(run, steps=steps), network(m), x, y)
    tops = ours()
    python = foreign(options, "torch")
    given = {"n": n, "width": m, "dim": DIM, "rate": rate, "steps": theirs_steps}
    measure = f"sharpness along {steps} steps, n={n}, m={m}, per step"
    for tolerance, target in ((0.0, "≥ 20"), (1e-4, "")):
        with Foreign(python, "torch_jobs:sharpness_along", **given, tolerance=tolerance) as way:
            mine, theirs = interleaved([timed(ours), way.seconds], 1)
        agree(way.value, float(tops.value[theirs_steps - 1]), 1e-3)
        mine, theirs = mine / steps, theirs / theirs_steps
        name = f"{shown(theirs)} SciPy and PyTorch, tolerance {tolerance:g}"
        yield Line(measure, shown(mine), name, theirs / mine, target)


def agree(found: float, expected: float, tolerance: float) -> None:
    """ValueError unless two numbers agree, relative to the second (absolutely where that is 0)."""
    if not math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance if expected == 0 else 0):
        raise ValueError(f"the two sides computed {found:.6g} and {expected:.6g}")


def foreign(options: Options, name: str) -> Path:
    """The interpreter of an environment. LookupError, which says what to type, if it is not there."""
    python = None if options.foreign is None else setup.python(options.foreign, name)
    if python is None or not python.exists():
        folder = options.foreign or "FOLDER"
        raise LookupError(f"`python -m benchmarks.foreign.setup {folder} {name}`, then `--foreign {folder}`")
    return python


ROWS: dict[str, Row] = {
    "forward_backward": forward_backward,
    "neural_tangents": neural_tangents,
    "contraction": contraction,
    "large": large,
    "many_examples": many_examples,
    "floor": floor,
    "quadratic": quadratic,
    "sparse": sparse,
    "lambda_max": lambda_max,
    "hessian_norm": hessian_norm,
    "agop": agop,
    "sharpness": sharpness,
}
HEADER = "| measure | ours | other | ratio | target | met |\n|---|--:|--:|--:|--:|---|"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the derivative kernels.", allow_abbrev=False)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--repeats", type=int, default=7, help="medians of so many (default: 7)")
    parser.add_argument("--foreign", type=Path, help="folder of `python -m benchmarks.foreign.setup`")
    parser.add_argument("--small", action="store_true", help="small sizes, to see that it runs")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; rows are {', '.join(ROWS)}")
    options = Options(chosen.repeats, chosen.foreign, chosen.small)
    print(HEADER, flush=True)
    for name in chosen.rows or ROWS:
        try:
            for line in ROWS[name](options):
                cells = (
                    line.measure,
                    line.ours,
                    line.other,
                    f"{line.ratio:.3g}",
                    line.target,
                    line.met,
                )
                print(f"| {' | '.join(cells)} |", flush=True)
        except LookupError as missing:
            print(f"| {name} | | needs {missing.args[0]} | | | |", flush=True)


if __name__ == "__main__":
    main()
