"""Reference models against a training loop in numpy, and what the runner makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench import models
from tangentbench.runners import abstract, build, references
from tangentbench.runners.build import Program, dataset
from tangentbench.runners.certificates import uncertified
from tangentbench.runners.compiled import Compiled
from tangentbench.tasks.dataset_options import ReferenceOptions

from .boards import make_run
from .tiny import metric, outcomes, part, tiny_cell

RECIPE = ReferenceOptions(width=16, members=3, weights=0.5, learning_rate=0.05, train_loss=0.2, steps=400).model_dump()
DIGITS = {"train": 20, "validation": 10, "test": 30}
MEASURED = [metric("agop_alignment"), *(metric(f"reference_{of}") for of in ("agreement", "error", "loss"))]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def examples(c: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((12, 4))
    return x, np.sign(x[:, :c] * x[:, 1 : c + 1])


def adam(first: np.ndarray, x: np.ndarray, y: np.ndarray, recipe=RECIPE, after: int = 0):
    """One network of the reference, gradients by hand and Adam from its paper; `after`: steps beyond the target."""
    w = [first, np.zeros((y.shape[1], len(first)))]
    mean, square = [0 * part for part in w], [0 * part for part in w]
    d, m, n = x.shape[1], len(first), len(x)
    for t in range(1, recipe["steps"] + 1):
        z = x @ w[0].T / np.sqrt(d)
        a = np.maximum(z, 0)
        error = a @ w[1].T / np.sqrt(m) - y
        if (error**2).sum(1).mean() <= recipe["train_loss"]:
            if not after:
                break
            after -= 1
        back = 2 / n * error
        slopes = [((back @ w[1] / np.sqrt(m)) * (z > 0)).T @ x / np.sqrt(d), back.T @ a / np.sqrt(m)]
        for i, g in enumerate(slopes):
            mean[i] = 0.9 * mean[i] + 0.1 * g
            square[i] = 0.999 * square[i] + 0.001 * g**2
            step = mean[i] / (1 - 0.9**t) / (np.sqrt(square[i] / (1 - 0.999**t)) + 1e-8)
            w[i] = w[i] - recipe["learning_rate"] * step
    return w


def starts(key, d: int, c: int) -> list[np.ndarray]:
    """The hidden weights with which the members of a reference begin, one after the other."""
    found = []
    for each in jax.random.split(key, RECIPE["members"]):
        noise = models.Wide(d, c, key=each, depth=1, width=RECIPE["width"], activation="relu").chain.layers[0].weight
        found.append(RECIPE["weights"] * np.asarray(noise))
    return found


@pytest.mark.parametrize("c", [1, 2])
def test_training_is_that_of_a_loop_in_numpy(c):
    x, y = examples(c)
    key = jax.random.PRNGKey(2)
    reference, losses = references.fit(key, jnp.asarray(x), jnp.asarray(y), RECIPE)
    layers = reference.networks.chain.layers
    begun = starts(key, 4, c)
    trained = [adam(first, x, y) for first in begun]
    for i, weights in enumerate(trained):
        for layer, weight in zip(layers, weights, strict=True):
            np.testing.assert_allclose(layer.weight[i], weight, rtol=1e-7, atol=1e-9)
    assert np.abs(layers[0].weight[0] - adam(begun[0], x, y, after=1)[0]).max() > 1e-4  # a step too many
    outputs = [np.maximum(x @ w.T / 2, 0) @ v.T / np.sqrt(RECIPE["width"]) for w, v in trained]
    np.testing.assert_allclose(models.predict(reference, jnp.asarray(x)), np.mean(outputs, axis=0), rtol=1e-7)
    np.testing.assert_allclose(losses, [((f - y) ** 2).sum(1).mean() for f in outputs], rtol=1e-7)
    assert max(losses) <= RECIPE["train_loss"]


def test_steps_end_what_does_not_reach_the_target():
    x, y = examples()
    recipe = {**RECIPE, "train_loss": 0.0, "steps": 7}
    key = jax.random.PRNGKey(2)
    found = references.fit(key, jnp.asarray(x), jnp.asarray(y), recipe)[0].networks.chain.layers[0].weight
    first = starts(key, 4, 1)[0]
    np.testing.assert_allclose(found[0], adam(first, x, y, recipe)[0], rtol=1e-9)
    assert np.abs(found[0] - adam(first, x, y, {**recipe, "steps": 8})[0]).max() > 1e-4


def test_what_is_kept_of_two_references():
    x, y = examples()
    train, test = x[:5], x[3:]
    key = jax.random.PRNGKey(4)
    found = references.measured(key, (jnp.asarray(x), jnp.asarray(y)), jnp.asarray(train), jnp.asarray(test), RECIPE)
    trained = [[adam(first, x, y) for first in starts(each, 4, 1)] for each in jax.random.split(key)]

    def outputs(members: list, z: np.ndarray) -> np.ndarray:
        return np.mean([np.maximum(z @ w.T / 2, 0) @ v.T / np.sqrt(RECIPE["width"]) for w, v in members], axis=0)

    agops = []
    for members in trained:
        moves = [outputs(members, train + e) - outputs(members, train - e) for e in 1e-6 * np.eye(4)]
        slopes = np.concatenate(moves, axis=1) / 2e-6
        agops.append(slopes.T @ slopes / len(train))
    np.testing.assert_allclose(found.outputs, outputs(trained[0], test), rtol=1e-6)
    np.testing.assert_allclose(found.agop, agops[0], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.agop_again, agops[1], rtol=1e-5, atol=1e-8)
    assert np.abs(agops[0] - agops[1]).max() > 1e-2  # not the same model twice
    assert references.measured(key, (jnp.asarray(x), jnp.asarray(y)), jnp.asarray(train), None, RECIPE).outputs is None


def digits(reference: dict | None, **changes):
    data = part("dataset", "digits", **DIGITS, reference=reference)
    return tiny_cell(dataset=data, metrics=MEASURED if reference is not None else [], **changes)


def test_lanes_of_a_task_share_a_reference_and_other_seeds_have_their_own():
    recipe = {"width": 8, "members": 2, "train_loss": 0.2}
    cell, compiled = digits(recipe), Compiled()
    again = cell.model_copy(update={"method": part("method", "gd", learning_rate={"value": 0.1})})
    lanes = [Program(c, dataset(c, seed)).lane(c, seed, compiled) for c, seed in ((cell, 0), (again, 0), (cell, 1))]
    assert lanes[0].data["agop"] is lanes[1].data["agop"] and lanes[0].data["agop"].shape == (64, 64)
    assert np.abs(lanes[0].data["agop"] - lanes[2].data["agop"]).max() > 1e-3
    assert lanes[0].data["reference_outputs"].shape == (30, 1)
    plain = digits(None)
    bare = Program(plain, dataset(plain, 0)).lane(plain, 0, compiled).data
    assert bare["agop"] is None and bare["agop_again"] is None and bare["reference_outputs"] is None


def test_a_lane_without_a_compiler_trains_no_reference(monkeypatch):
    cell = digits({"members": 2})
    monkeypatch.setattr(build.Compiled, "__call__", lambda *_: pytest.fail("compiled"))
    found = Program(cell, dataset(cell, 0)).lane(cell, 0).data
    assert all(isinstance(found[name], jax.ShapeDtypeStruct) for name in ("agop", "agop_again", "reference_outputs"))
    assert abstract.estimate(cell).flops > 0


@pytest.mark.parametrize(
    ("weights", "doubt"), [(0.1, ""), (3.0, "agop_alignment not certified: reference models differ")]
)
def test_references_that_disagree_decide_nothing(weights, doubt):
    """Large weights keep their random start: two references then have little in common."""
    cell = digits({"width": 64, "members": 1, "weights": weights, "train_loss": 0.05})
    (found,) = outcomes(cell)
    agreement, error = found.scalars["reference_agreement"], found.scalars["reference_error"]
    assert agreement is not None and error is not None
    assert found.certificates["agop_alignment.residual"] >= 1 - agreement - 1e-12
    assert (agreement >= 0.95) == (not doubt)
    run = make_run(cell, 0, scalars=dict(found.scalars), certificates=found.certificates)
    assert uncertified(run, "agop_alignment").startswith(doubt) and bool(uncertified(run, "agop_alignment")) == bool(
        doubt
    )
    assert round(error * 30) == pytest.approx(error * 30) and 0 <= error < 0.3


def test_a_reference_that_did_not_reach_its_target_decides_nothing():
    """Two that were stopped early may well agree."""
    recipe = {"width": 64, "members": 1, "weights": 0.1, "train_loss": 0.05}
    early, late = digits({**recipe, "steps": 5}), digits(recipe)
    (stopped,), (trained,) = outcomes(early), outcomes(late)
    assert stopped.scalars["reference_agreement"] is None and trained.scalars["reference_agreement"] is not None
    assert stopped.scalars["reference_loss"] > trained.scalars["reference_loss"] > 0
    run = make_run(early, 0, scalars=dict(stopped.scalars), certificates=stopped.certificates)
    assert uncertified(run, "agop_alignment").endswith("a reference model ended above its train_loss")


def test_the_recipe_is_part_of_what_names_a_run():
    assert digits({}).digest == digits({"width": 256}).digest
    assert digits({}).digest != digits({"width": 257}).digest
    assert digits({}).dataset["reference"]["members"] == 4  # defaults are filled in
    assert "reference" not in digits(None).dataset  # what has none keeps the name that it had before there were any
