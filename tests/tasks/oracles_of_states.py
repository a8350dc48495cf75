"""Metrics of a state on situations small enough for numpy.

Most are asked of a two-layer tanh network with three outputs, whose Jacobian is written out and whose Hessians are
complex steps of it: no line is shared with the kernels, nor with JAX's derivatives. Distances from Taylor models are
asked of deep linear networks, where the supremum has a closed form; bounds along a step, and the smallest loss of a
cone, of two weights.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from tangentbench import models
from tangentbench.tasks.losses import LOSSES
from tangentbench.tasks.metrics import Context

from .oracles import Case, ask

DIM, WIDTH, EXAMPLES = 3, 3, 2
SIZES = {"train": 8, "validation": 10, "test": 12}
KAPPA, RADIUS = 0.5, 1e-4
STEPS = 60  # more than the network has weights


# -- a two-layer network in numpy -------------------------------------------------------------------------------------


def split(w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights and biases of both layers, of any number of outputs."""
    outputs = (w.size - WIDTH * (DIM + 1)) // (WIDTH + 1)
    parts = np.split(w, np.cumsum([WIDTH * DIM, WIDTH, outputs * WIDTH]))
    return parts[0].reshape(WIDTH, DIM), parts[1], parts[2].reshape(outputs, WIDTH), parts[3]


def outputs_at(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[n c]"""
    first, bias, last, shift = split(w)
    return np.tanh(x @ first.T / np.sqrt(DIM) + bias) @ last.T / np.sqrt(WIDTH) + shift


def jacobian_at(w: np.ndarray, x: np.ndarray) -> np.ndarray:
    """[n c p], for complex weights too."""
    first, bias, last, _ = split(w)
    found = []
    for example in x:
        hidden = np.tanh(first @ example / np.sqrt(DIM) + bias)
        for unit, row in zip(np.eye(len(last)), last, strict=True):
            back = row / np.sqrt(WIDTH) * (1 - hidden**2)
            parts = np.outer(back, example / np.sqrt(DIM)), back, np.outer(unit, hidden / np.sqrt(WIDTH)), unit
            found.append(np.concatenate([part.ravel() for part in parts]))
    return np.array(found).reshape(len(x), len(last), w.size)


class Point:
    """Outputs, Jacobian and Hessians at some weights on some inputs, and what follows for the loss `mse`."""

    def __init__(self, w: np.ndarray, x: np.ndarray, y: np.ndarray):
        n = len(x)
        self.f, self.jacobian = outputs_at(w, x), jacobian_at(w, x)
        steps = [jacobian_at(w + 1e-30j * unit, x).imag / 1e-30 for unit in np.eye(w.size)]
        self.hessians = np.stack(steps, axis=2)  # [n c p p]
        self.rows = self.jacobian.reshape(-1, w.size)
        self.kernel = self.rows @ self.rows.T
        self.errors = self.f - y
        self.loss = (self.errors**2).sum() / n
        self.slope = 2 / n * np.einsum("nc,ncp->p", self.errors, self.jacobian)
        self.gauss_newton = 2 / n * self.rows.T @ self.rows
        self.curvature = self.gauss_newton + 2 / n * np.einsum("nc,ncpq->pq", self.errors, self.hessians)
        self.mean = self.jacobian.mean(axis=(0, 1))
        spectra = np.linalg.eigvalsh(self.hessians)
        self.norms, self.upper = np.abs(spectra).max(axis=2), spectra.max(axis=2)  # [n c]
        first, bias, last, _ = split(w)
        slopes = 1 - np.tanh(x @ first.T / np.sqrt(DIM) + bias) ** 2
        self.inputs = np.einsum("cw,nw,wd->ncd", last, slopes, first) / np.sqrt(DIM * WIDTH)  # df/dx


def top(matrix: np.ndarray) -> float:
    return float(np.linalg.eigvalsh(matrix)[-1])


def cosine(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.sum(left * right) / np.sqrt(np.sum(left**2) * np.sum(right**2)))


def wrong(f: np.ndarray, y: np.ndarray) -> float:
    """Share of wrong classes, one example after the other."""
    pairs = zip(f, y, strict=True)
    right = [(row[0] > 0) == (to[0] > 0) if len(row) == 1 else row.argmax() == to.argmax() for row, to in pairs]
    return 1 - sum(right) / len(right)


class Situation:
    """A network that has moved from its start, and its data, for JAX and for numpy."""

    def __init__(self, c: int):
        rng = np.random.default_rng(2)
        self.c = c
        self.x = {name: rng.standard_normal((n, DIM)) for name, n in SIZES.items()}
        self.x["train"][0, 0] = 0.0  # on neither side
        classes = {name: rng.integers(max(c, 2), size=n) for name, n in SIZES.items()}
        self.y = {name: np.eye(c)[k] if c > 1 else 2.0 * k[:, None] - 1 for name, k in classes.items()}
        self.agop = np.diag(np.arange(1.0, DIM + 1))
        other = np.random.default_rng(3)
        slopes = other.standard_normal((2, DIM))
        self.agop_again = self.agop + slopes.T @ slopes
        self.reference = other.standard_normal(self.y["test"].shape)
        origin = models.Wide(DIM, c, key=jax.random.key(0), depth=1, width=WIDTH, activation="tanh", bias=True)
        leaves = [leaf for layer in origin.chain.layers for leaf in (layer.weight, layer.bias)]
        self.w0 = np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])
        self.w = self.w0 + rng.standard_normal(self.w0.size)
        self.w[-c:] = 0.1 * rng.standard_normal(c)  # so that no class is named for all inputs

        def arrays(model: Any) -> list[Any]:
            return [leaf for layer in model.chain.layers for leaf in (layer.weight, layer.bias)]

        self.model = eqx.tree_at(arrays, origin, list(map(jnp.asarray, split(self.w))))
        self.here, self.start = (Point(w, self.x["train"], self.y["train"]) for w in (self.w, self.w0))
        self.test = Point(self.w, self.x["test"], self.y["test"])
        of_data = {"agop": self.agop, "agop_again": self.agop_again, "reference_outputs": self.reference}
        self.context = context(origin, self.x, self.y, **of_data, kernel0=self.start.kernel)

    def error(self, name: str, w: np.ndarray | None = None) -> float:
        """Share of wrong classes, one example after the other."""
        return wrong(outputs_at(self.w if w is None else w, self.x[name]), self.y[name])


def context(model: Any, x: dict[str, Any], y: dict[str, Any], **rest: Any) -> Context:
    splits = {f"{axis}_{name}": None for axis in "xy" for name in SIZES}
    splits |= {f"x_{name}": jnp.asarray(values) for name, values in x.items()}
    splits |= {f"y_{name}": jnp.asarray(values) for name, values in y.items()}
    given = {name: jnp.asarray(value) for name, value in rest.items()}
    nothing = {"agop": None, "kernel0": None}
    return Context(
        **splits, **{**nothing, **given}, origin=model, network=model, key=jax.random.PRNGKey(3), loss=LOSSES["mse"],
        classification=True,
    )  # fmt: skip


ASKED: dict[str, dict[str, Any]] = {
    **{f"{name}_{kind}": {} for name in SIZES for kind in ("loss", "error")},
    "output": {},
    "tangent_kernel_norm": {"steps": STEPS},
    "side_kernel_norm": {"sign": "positive", "steps": STEPS},
    "kernel_change": {},
    "critical_rate": {"products": 200},
    "kernel_critical_rate": {"steps": STEPS},
    "hessian_norm": {"examples": EXAMPLES, "steps": STEPS},
    "sharpness": {"products": 200},
    "average_gradient_norm": {},
    "pl_constant": {},
    "hessian_norm_max": {"steps": STEPS},
    "convexity_constant": {"kappa": KAPPA, "steps": STEPS},
    "restricted_curvature": {"kappa": KAPPA, "radius": RADIUS, "directions": 2, "steps": STEPS},
    "orthogonal_curvature": {"kappa": KAPPA, "radius": RADIUS, "steps": STEPS},
    "agop_alignment": {"roll": 1},
    "reference_agreement": {},
    "reference_error": {},
    "reference_loss": {},
    "feature_alignment": {"layer": 1},
    "top_loss": {"top": 2, "steps": STEPS},
    "bulk_loss": {"top": 2, "steps": STEPS},
    "parameter_distance": {},
    "relative_parameter_distance": {},
}


def ask_all(asked: dict[str, dict[str, Any]], ctx: Context, model: Any) -> dict[str, float]:
    """All of them in one program."""

    @eqx.filter_jit
    def answers(ctx: Context, model: Any) -> dict[str, Any]:
        said = {name: ask(name, ctx, model, **options) for name, options in asked.items()}
        return {name: getattr(answer, "value", answer) for name, answer in said.items()}

    return {name: float(answer) for name, answer in answers(ctx, model).items()}


def of_losses(at: Situation, one: Situation, found: dict[str, float]) -> dict[str, Case]:
    """Losses for three outputs; errors for three and for one."""
    said = ask_all({f"{name}_error": {} for name in SIZES}, one.context, one.model)
    cases = {}
    for name, n in SIZES.items():
        other = next(split for split in reversed(SIZES) if split != name)

        def squares(split: str, w: np.ndarray) -> np.ndarray:
            return np.array([(f - y) ** 2 for f, y in zip(outputs_at(w, at.x[split]), at.y[split], strict=True)])

        here = squares(name, at.w)
        truth = here.sum() / n
        cases[f"{name}_loss"] = Case(found[f"{name}_loss"], truth, {
            "a sum over examples": here.sum(),
            "a mean over outputs too": here.mean(),
            "with the factor 1/2": truth / 2,
            "not squared": np.sqrt(here).sum() / n,
            "root of the squares": np.sqrt(truth),
            "of another split": squares(other, at.w).sum() / SIZES[other],
            "at the start": squares(name, at.w0).sum() / n,
        })  # fmt: skip
        both = [at.error(name), one.error(name)]
        cases[f"{name}_error"] = Case([found[f"{name}_error"], said[f"{name}_error"]], both, {
            "the share of right classes": [1 - error for error in both],
            "a number of examples": [error * n for error in both],
            "of another split": [at.error(other), one.error(other)],
            "at the start": [at.error(name, at.w0), one.error(name, one.w0)],
            "of the first output alone": [
                np.mean((outputs_at(s.w, s.x[name])[:, 0] > 0) != (s.y[name][:, 0] > 0.5)) for s in (at, one)
            ],
        }, tolerance=1e-12)  # fmt: skip
    f = outputs_at(at.w, at.x["train"])
    cases["output"] = Case(found["output"], f[0, 0], {
        "of the last example": f[-1, 0],
        "of the last output": f[0, -1],
        "a mean over examples": f[:, 0].mean(),
        "on the test set": at.test.f[0, 0],
        "at the start": at.start.f[0, 0],
        "its size": np.linalg.norm(f[0]),
    })  # fmt: skip
    return cases


def of_kernels(at: Situation, found: dict[str, float]) -> dict[str, Case]:
    here, start, n, c = at.here, at.start, SIZES["train"], at.c
    largest = top(here.kernel)
    first = np.repeat(at.x["train"][:, 0], c)

    def side(chosen: np.ndarray, kernel: np.ndarray) -> float:
        return top(kernel[np.ix_(chosen, chosen)])

    change, before = here.kernel - start.kernel, start.kernel
    values, vectors = np.linalg.eigh(here.kernel)
    errors = here.errors.reshape(-1)
    inside = ((vectors[:, -2:].T @ errors) ** 2).sum() / n

    def split_by(matrix: np.ndarray, vector: np.ndarray, count: int = 2) -> float:
        return float(((np.linalg.eigh(matrix)[1][:, -count:].T @ vector) ** 2).sum() / n)

    mistaken = {
        "one eigenvector less": split_by(here.kernel, errors, 1),
        "the smallest eigenvectors": split_by(-here.kernel, errors),
        "the kernel at the start": split_by(start.kernel, errors),
        "outputs in place of errors": split_by(here.kernel, here.f.reshape(-1)),
        "outputs first": split_by(here.kernel, here.errors.T.reshape(-1)),
    }
    return {
        "tangent_kernel_norm": Case(found["tangent_kernel_norm"], largest, {
            "Frobenius": np.linalg.norm(here.kernel),
            "the trace": np.trace(here.kernel),
            "a mean over examples": largest / n,
            "of the Jacobian": np.sqrt(largest),
            "of one output": top(here.jacobian[:, 0] @ here.jacobian[:, 0].T),
            "at the start": top(start.kernel),
            "the next eigenvalue": values[-2],
        }),
        "side_kernel_norm": Case(found["side_kernel_norm"], side(first >= 0, here.kernel), {
            "without the inputs on neither side": side(first > 0, here.kernel),
            "the other side": side(first < 0, here.kernel),
            "both sides": largest,
            "sides by the last coordinate": side(np.repeat(at.x["train"][:, -1] >= 0, c), here.kernel),
            "sides output-major": side(np.tile(at.x["train"][:, 0] >= 0, c), here.kernel),
            "at the start": side(first >= 0, start.kernel),
        }),
        "kernel_change": Case(found["kernel_change"], np.sqrt((change**2).sum() / (before**2).sum()), {
            "spectral": np.linalg.norm(change, 2) / np.linalg.norm(before, 2),
            "squared": (change**2).sum() / (before**2).sum(),
            "relative to now": np.linalg.norm(change) / np.linalg.norm(here.kernel),
            "not relative": np.linalg.norm(change),
            "of the sizes": abs(np.linalg.norm(here.kernel) / np.linalg.norm(before) - 1),
        }),
        "kernel_critical_rate": Case(found["kernel_critical_rate"], n / largest, {
            "1 in place of 2": n / largest / 2,
            "of a mean over outputs": n * c / largest,
            "of a sum over examples": 1 / largest,
            "at the start": n / top(start.kernel),
            "of the trace": n / np.trace(here.kernel),
        }),
        "top_loss": Case(found["top_loss"], inside, {
            "with the factor 1/2": inside / 2, "the rest": here.loss - inside, **mistaken,
        }),
        "bulk_loss": Case(found["bulk_loss"], here.loss - inside, {
            "with the factor 1/2": (here.loss - inside) / 2, "the top": inside, "all of it": here.loss,
            **{label: here.loss - value for label, value in mistaken.items()},
        }),
    }  # fmt: skip


def of_curvature(at: Situation, found: dict[str, float]) -> dict[str, Case]:
    here, start, c, g = at.here, at.start, at.c, at.here.mean
    sharpness, begun = top(here.curvature), top(start.curvature)
    few = at.test.norms[:EXAMPLES]
    norm, nu = here.norms.max(), 2 * c
    unit, factor = nu * KAPPA**2 * g @ g, np.sqrt(2 * nu * here.loss)
    squared = here.slope @ here.slope
    length = np.linalg.norm(g)
    axis = np.outer(g, g) / (g @ g)

    def in_cone(matrix: np.ndarray) -> float:
        """The dual of the minimum over the cone: max over mu >= 0 of lambda_min(H - mu g g^T/|g|^2) + mu kappa^2."""
        return max(np.linalg.eigvalsh(matrix - mu * axis)[0] + mu * KAPPA**2 for mu in np.linspace(0, 40, 4001))

    least, unproved = in_cone(here.curvature), unit - factor * norm
    complement = np.linalg.svd(g[None])[2][1:].T
    across = np.linalg.eigvalsh(complement.T @ here.curvature @ complement)
    gradients = np.linalg.norm(here.jacobian, axis=2)
    anywhere = np.linalg.eigvalsh(here.curvature)[0]
    return {
        "sharpness": Case(found["sharpness"], sharpness, {
            "of the Gauss-Newton part": top(here.gauss_newton),
            "of the part of the residuals": top(here.curvature - here.gauss_newton),
            "with the factor 1/2": sharpness / 2,
            "the other end": -anywhere,
            "at the start": begun,
        }),
        "critical_rate": Case(found["critical_rate"], 2 / begun, {
            "1 in place of 2": 1 / begun,
            "at the weights of now": 2 / sharpness,
            "of the Gauss-Newton part": 2 / top(start.gauss_newton),
            "the eigenvalue": begun,
        }),
        "hessian_norm": Case(found["hessian_norm"], few.max(axis=1).mean(), {
            "the largest over examples": few.max(),
            "a mean over outputs": few.mean(),
            "a sum over examples": few.max(axis=1).sum(),
            "the upper end of the spectrum": at.test.upper[:EXAMPLES].max(axis=1).mean(),
            "of the train set": here.norms[:EXAMPLES].max(axis=1).mean(),
            "over all examples": at.test.norms.max(axis=1).mean(),
            "Frobenius": np.linalg.norm(at.test.hessians[:EXAMPLES], axis=(2, 3)).max(axis=1).mean(),
        }),
        "average_gradient_norm": Case(found["average_gradient_norm"], length, {
            "a mean of norms": gradients.mean(),
            "a sum over outputs": c * length,
            "squared": length**2,
            "the gradient of the loss": np.linalg.norm(here.slope),
            "on the test set": np.linalg.norm(at.test.mean),
            "at the start": np.linalg.norm(start.mean),
        }),
        "pl_constant": Case(found["pl_constant"], squared / (2 * here.loss), {
            "1 in place of 2": squared / here.loss,
            "not squared": np.sqrt(squared) / (2 * here.loss),
            "for half the loss": squared / (4 * here.loss),
            "of a mean over outputs": squared / (2 * here.loss) / c,
            "on the test set": at.test.slope @ at.test.slope / (2 * at.test.loss),
            "at the start": start.slope @ start.slope / (2 * start.loss),
        }),
        "hessian_norm_max": Case(found["hessian_norm_max"], norm, {
            "a mean over examples": here.norms.max(axis=1).mean(),
            "the first example": here.norms[0].max(),
            "of the first output": here.norms[:, 0].max(),
            "the upper end of the spectrum": here.upper.max(),
            "on the test set": at.test.norms.max(),
            "of the mean predictor": np.linalg.norm(here.hessians.mean(axis=(0, 1)), 2),
        }),
        "convexity_constant": Case(found["convexity_constant"], unproved, {
            "kappa not squared": unit / KAPPA - factor * norm,
            "1 in place of 2 below the root": unit - factor / np.sqrt(2) * norm,
            "for one output": (unit - np.sqrt(c) * factor * norm) / c,
            "the loss without its root": unit - factor * np.sqrt(here.loss) * norm,
            "a mean of Hessian norms": unit - factor * here.norms.max(axis=1).mean(),
            "a mean of gradient norms": nu * (KAPPA * gradients.mean()) ** 2 - factor * norm,
            "the largest gradient": nu * (KAPPA * gradients.max()) ** 2 - factor * norm,
            "the other sign": unit + factor * norm,
            "at the start": nu * KAPPA**2 * start.mean @ start.mean - np.sqrt(2 * nu * start.loss) * start.norms.max(),
        }),
        "restricted_curvature": Case(found["restricted_curvature"], least / unit, {
            "over all directions": anywhere / unit,
            "across": across[0] / unit,
            "along the average gradient": g @ here.curvature @ g / (g @ g) / unit,
            "half of it": least / unit / 2,
            "not divided": least,
            "divided without kappa": least / unit * KAPPA**2,
            "of the Gauss-Newton part": in_cone(here.gauss_newton) / unit,
        }, tolerance=0.002),
        "orthogonal_curvature": Case(found["orthogonal_curvature"], across[0] / unit, {
            "in the cone": least / unit,
            "the largest": across[-1] / unit,
            "along the average gradient": g @ here.curvature @ g / (g @ g) / unit,
            "half of it": across[0] / unit / 2,
            "not divided": across[0],
            "divided without kappa": across[0] / unit * KAPPA**2,
            "of the Gauss-Newton part": np.linalg.eigvalsh(complement.T @ here.gauss_newton @ complement)[0] / unit,
            "not across": anywhere / unit,
        }, tolerance=1e-4),
    }  # fmt: skip


def of_features_and_distances(at: Situation, found: dict[str, float]) -> dict[str, Case]:
    here, start = at.here, at.start
    average = np.einsum("ncd,nce->de", here.inputs, here.inputs) / SIZES["train"]
    means = here.inputs.mean(axis=(0, 1))
    weights, begun = (split(w)[0] for w in (at.w, at.w0))
    moved, w0 = at.w - at.w0, at.w0
    distance = np.sqrt((moved**2).sum())
    layers = list(zip(split(moved), split(w0), strict=True))
    ahead = np.eye(DIM)[[DIM - 1, *range(DIM - 1)]]  # e_j -> e_{j+1}
    shifted = ahead @ at.agop @ ahead.T
    return {
        "agop_alignment": Case(found["agop_alignment"], cosine(average, shifted), {
            "not shifted": cosine(average, at.agop),
            "shifted back": cosine(average, ahead.T @ at.agop @ ahead),
            "shifted along one axis": cosine(average, ahead @ at.agop),
            "by traces": np.trace(average @ shifted) / (np.trace(average) * np.trace(shifted)),
            "of the average gradient": cosine(np.outer(means, means), shifted),
            "of the first output": cosine(np.einsum("nd,ne->de", *[here.inputs[:, 0]] * 2), shifted),
            "of the diagonals": cosine(np.diag(average), np.diag(shifted)),
            "on the test set": cosine(np.einsum("ncd,nce->de", *[at.test.inputs] * 2), shifted),
            "at the start": cosine(np.einsum("ncd,nce->de", *[start.inputs] * 2), shifted),
        }),
        "reference_agreement": Case(found["reference_agreement"], cosine(at.agop, at.agop_again), {
            "by traces": np.trace(at.agop @ at.agop_again) / (np.trace(at.agop) * np.trace(at.agop_again)),
            "of the diagonals": cosine(np.diag(at.agop), np.diag(at.agop_again)),
            "with the model": cosine(average, at.agop),
            "squared": cosine(at.agop, at.agop_again) ** 2,
        }),
        "reference_loss": Case(found["reference_loss"], ((at.reference - at.y["test"]) ** 2).sum() / SIZES["test"], {
            "half": ((at.reference - at.y["test"]) ** 2).sum() / SIZES["test"] / 2,
            "of the model": at.test.loss,
            "a sum": ((at.reference - at.y["test"]) ** 2).sum(),
            "of sizes": np.abs(at.reference - at.y["test"]).sum() / SIZES["test"],
        }),
        "reference_error": Case(found["reference_error"], wrong(at.reference, at.y["test"]), {
            "the share that is right": 1 - wrong(at.reference, at.y["test"]),
            "of the model": at.error("test"),
            "of the targets' negative": wrong(-at.reference, at.y["test"]),
            "a number of examples": wrong(at.reference, at.y["test"]) * SIZES["test"],
        }),
        "feature_alignment": Case(found["feature_alignment"], cosine(average, weights.T @ weights), {
            "of W W^T": cosine(average, weights @ weights.T),
            "of the weights themselves": cosine(average, weights),
            "of the average gradient": cosine(np.outer(means, means), weights.T @ weights),
            "of the weights at the start": cosine(average, begun.T @ begun),
            "of the true function": cosine(at.agop, weights.T @ weights),
        }),
        "parameter_distance": Case(found["parameter_distance"], distance, {
            "squared": distance**2,
            "a sum over layers": sum(np.linalg.norm(part) for part, _ in layers),
            "a root of the mean": distance / np.sqrt(moved.size),
            "a sum of sizes": np.abs(moved).sum(),
            "of the norms": abs(np.linalg.norm(at.w) - np.linalg.norm(w0)),
            "without the biases": np.sqrt(sum((part**2).sum() for part, _ in layers[::2])),
        }),
        "relative_parameter_distance": Case(found["relative_parameter_distance"], distance / np.linalg.norm(w0), {
            "relative to now": distance / np.linalg.norm(at.w),
            "not relative": distance,
            "squared": (distance / np.linalg.norm(w0)) ** 2,
            "a sum over layers": sum(np.linalg.norm(part) / np.linalg.norm(old) for part, old in layers),
        }),
    }  # fmt: skip


# -- Taylor models of deep linear networks ----------------------------------------------------------------------------

BALL = 0.8
ASCENT = {"radius": BALL, "examples": EXAMPLES, "restarts": 8, "steps": 150}


def of_taylor_errors() -> dict[str, Case]:
    """For f = s W_k … W_1 x what an expansion leaves is a product of changes and weights, whose sup is in closed form.

    |AB..x| <= |A||B|..|x|, with equality for aligned matrices of rank one, and the product of k lengths whose squares
    add up to R^2 is at most (R/sqrt k)^k.
    """
    rng = np.random.default_rng(8)
    x = {name: rng.standard_normal((n, DIM)) for name, n in (("train", 4), ("test", 5))}
    x["test"] = x["test"][np.argsort(np.linalg.norm(x["test"], axis=1))]  # the longest is not asked about
    y = {name: np.ones((len(values), 1)) for name, values in x.items()}
    key = jax.random.key(1)
    plain = {"width": WIDTH, "activation": "identity"}
    two, three = (models.Wide(DIM, 1, key=key, depth=depth, **plain) for depth in (1, 2))
    cut = models.Bottleneck(DIM, 1, key=key, depth=2, bottleneck_width=2, at=[1], **plain)
    lengths = {name: np.linalg.norm(values, axis=1) for name, values in x.items()}
    few = lengths["test"][:EXAMPLES]
    found = {
        name: ask_all({name: ASCENT}, context(model, x, y), model)[name]
        for name, model in (("linearization_error", two), ("quadratic_error", three), ("multilinear_error", cut))
    }

    def over(value: Any) -> dict[str, float]:
        """Mistakes in what is maximised over."""
        return {
            "a mean over examples": np.mean([value(q) for q in few]),
            "over all examples": max(value(q) for q in lengths["test"]),
            "on the train set": max(value(q) for q in lengths["train"][:EXAMPLES]),
        }

    linear = functools.partial(lambda q, power: q * BALL**power / 2 / np.sqrt(DIM * WIDTH), power=2)
    cubic = functools.partial(lambda q, power: q * BALL**power / 3**1.5 / np.sqrt(DIM * WIDTH**2), power=3)

    # With the first block exact and the other, W_3 W_2, linearised: |dW_3||dW_2||(W_1 + dW_1) x|, and dW_1 of length a
    # adds a|x| to |W_1 x|; the other two share R^2 - a^2.
    weight = np.asarray(cut.chain.layers[0].weight)

    def split_up(a: float, example: np.ndarray, add: float = 1.0) -> float:
        reach = np.linalg.norm(weight @ example) + add * a * np.linalg.norm(example)
        return (BALL**2 - a**2) / 2 * reach / np.sqrt(DIM * 2 * WIDTH)

    def bilinear(example: np.ndarray) -> float:
        h, q = np.linalg.norm(weight @ example), np.linalg.norm(example)
        return split_up((np.sqrt(h**2 + 3 * q**2 * BALL**2) - h) / (3 * q), example)

    values = [bilinear(example) for example in x["test"]]
    scale = np.sqrt(DIM * 2 * WIDTH)
    whole = [0.5 * BALL**2 * np.abs(np.linalg.eigvalsh(_dense(cut, example))).max() for example in x["test"][:EXAMPLES]]
    return {
        "linearization_error": Case(found["linearization_error"], max(map(linear, few)), {
            "not halved": 2 * max(map(linear, few)),
            "the radius not squared": linear(few.max(), power=1),
            "half the Hessian at radius 1": linear(few.max(), power=0),
            **over(linear),
        }, tolerance=1e-6),
        "quadratic_error": Case(found["quadratic_error"], max(map(cubic, few)), {
            "the radius squared": cubic(few.max(), power=2),
            "the whole radius for every layer": 3**1.5 * max(map(cubic, few)),
            "of the linear expansion": 0.5 * BALL**2 * max(
                np.abs(np.linalg.eigvalsh(_dense(three, example))).max() for example in x["test"][:EXAMPLES]
            ),
            **over(cubic),
        }, tolerance=1e-6),
        "multilinear_error": Case(found["multilinear_error"], max(values[:EXAMPLES]), {
            "the exact block left alone": max(split_up(0.0, example) for example in x["test"][:EXAMPLES]),
            "the whole radius for every factor": max(
                BALL**2 * (np.linalg.norm(weight @ e) + BALL * np.linalg.norm(e)) / scale for e in x["test"][:EXAMPLES]
            ),
            "of the quadratic expansion": few.max() * BALL**3 / 3**1.5 / scale,
            "of the linear expansion": max(whole),
            "a mean over examples": np.mean(values[:EXAMPLES]),
            "over all examples": max(values),
            "on the train set": max(map(bilinear, x["train"][:EXAMPLES])),
        }, tolerance=1e-6),
    }  # fmt: skip


def _dense(model: Any, x: np.ndarray) -> np.ndarray:
    """Hessian of a linear network's output by second differences of numpy, which are exact but for rounding: f has
    degree 3 at most, and odd terms cancel."""
    weights = [np.asarray(layer.weight) for layer in model.chain.layers]
    scale = float(np.prod([layer.scale for layer in model.chain.layers]))
    flat, cuts = np.concatenate([w.ravel() for w in weights]), np.cumsum([w.size for w in weights])[:-1]

    def f(step: np.ndarray) -> float:
        out = x
        for part, old in zip(np.split(flat + step, cuts), weights, strict=True):
            out = part.reshape(old.shape) @ out
        return scale * float(out[0])

    steps = 0.1 * np.eye(flat.size)
    return np.array([[(f(a + b) - f(a - b) - f(b - a) + f(-a - b)) / 0.04 for b in steps] for a in steps])


# -- two weights ------------------------------------------------------------------------------------------------------


class Sine(eqx.Module):
    """f(x) = x sin w_1: its Hessian is largest at w_1 = pi/2. The other weight does nothing."""

    w: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return x[:1] * jnp.sin(self.w[0]) + 0 * self.w[1]


def of_the_margin() -> dict[str, Case]:
    """The step of least curvature leads over a maximum of the Hessian's norm, so that neither of its ends has it."""
    w, radius, kappa = 1.2, 1.5, 0.5
    x, y = np.array([0.5, 1.0, -2.0, 3.0]), np.array([0.6, 1.3, -2.2, 3.3])
    model = Sine(jnp.array([w, 0.3]))
    ctx = context(model, {"train": x[:, None]}, {"train": y[:, None]})
    options = {"kappa": kappa, "radius": radius, "directions": 2, "steps": 8}
    found = ask_all({"restricted_curvature_margin": options}, ctx, model)["restricted_curvature_margin"]

    def loss(w: float) -> float:
        return float(np.mean((x * np.sin(w) - y) ** 2))

    # grad L has one coordinate, and so has g: of a unit vector with cosine kappa only kappa is felt
    slope = float(np.mean(2 * (x * np.sin(w) - y) * x * np.cos(w)))
    both = {s: 2 * (loss(w + s * kappa * radius) - loss(w) - s * kappa * radius * slope) / radius**2 for s in (1, -1)}
    ahead = min(both, key=both.__getitem__)
    assert ahead == 1  # towards and beyond pi/2
    h = np.abs(x).max() * np.abs(np.sin(w + kappa * radius * np.array([0.0, 0.5, 1.0])))
    assert h.argmax() == 1
    gradient = np.mean(x) * np.cos(w)

    def margin(curvature: float = both[1], norm: float = h.max(), square: float = kappa**2, factor: float = 2.0):
        return curvature - (factor * square * gradient**2 - factor * np.sqrt(loss(w)) * norm)

    return {
        "restricted_curvature_margin": Case(found, margin(), {
            "the Hessian at the start of the step": margin(norm=h[0]),
            "the Hessian at its end": margin(norm=h[2]),
            "the Hessian at both ends": margin(norm=max(h[0], h[2])),
            "a mean over the step": margin(norm=h.mean()),
            "a mean over examples": margin(norm=h.max() * np.abs(x).mean() / np.abs(x).max()),
            "the other way": margin(curvature=both[-1]),
            "the larger curvature": margin(curvature=max(both.values())),
            "kappa not squared": margin(square=kappa),
            "the bound of half the loss": margin(factor=1.0),
            "the curvature alone": both[1],
            "half the curvature": margin(curvature=both[1] / 2),
        }),
    }  # fmt: skip


class Linear(eqx.Module):
    """f(x) = <w, x>: no Hessian, so that the loss is proved convex in the cone whatever it is."""

    w: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.dot(self.w, x)[None]


def of_the_rate_of_decay() -> dict[str, Case]:
    """The smallest loss of a cone by trying its directions: along each a linear model's loss is a parabola."""
    rng = np.random.default_rng(6)
    w, kappa = np.array([0.4, -0.9]), 0.9
    x = rng.standard_normal((6, 2)) + [1.5, 0.5]
    y = x @ np.array([-0.2, 1.1]) + rng.standard_normal(6)
    model = Linear(jnp.asarray(w))
    ctx = context(model, {"train": x}, {"train": y[:, None]})
    errors, mean = x @ w - y, x.mean(axis=0)
    loss, slope, hessian = np.mean(errors**2), 2 * x.T @ errors / len(x), 2 * x.T @ x / len(x)
    angles = np.arctan2(mean[1], mean[0]) + np.arccos(kappa) * np.linspace(-1, 1, 100_001)
    u = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    falls = (u @ slope) ** 2 / (2 * np.einsum("kp,pq,kq->k", u, hessian, u))  # in one half of the cone or the other
    inf = loss - falls.max()
    free = np.mean((x @ np.linalg.lstsq(x, y, rcond=None)[0] - y) ** 2)
    assert free < 0.95 * inf  # the cone binds
    options = {"kappa": kappa, "steps": 8, "descents": 400}
    found = [
        ask_all({"restricted_pl_ratio": {**options, "restricted": restricted}}, ctx, model)["restricted_pl_ratio"]
        for restricted in (True, False)
    ]

    def ratio(inf: float, alpha: float = 2 * kappa**2 * mean @ mean, square: float = slope @ slope) -> list[float]:
        return [square / (2 * alpha * (loss - least)) for least in (inf, 0.0)]

    return {
        "restricted_pl_ratio": Case(found, ratio(inf), {
            "the smallest loss of all": ratio(free),
            "a smallest loss of 0": ratio(0.0),
            "along the axis alone": ratio(loss - (slope @ mean) ** 2 / (2 * mean @ hessian @ mean)),
            "1 in place of 2": ratio(inf, square=2 * slope @ slope),
            "kappa not squared": ratio(inf, alpha=2 * kappa * mean @ mean),
            "the constant of half the loss": ratio(inf, alpha=kappa**2 * mean @ mean),
            "the gradient not squared": ratio(inf, square=np.linalg.norm(slope)),
        }, tolerance=1e-5),
    }  # fmt: skip


@functools.cache
def cases() -> dict[str, Case]:
    """Every metric of a state."""
    at, one = Situation(3), Situation(1)
    found = ask_all(ASKED, at.context, at.model)
    return {
        **of_losses(at, one, found), **of_kernels(at, found), **of_curvature(at, found),
        **of_features_and_distances(at, found), **of_taylor_errors(), **of_the_margin(), **of_the_rate_of_decay(),
    }  # fmt: skip
