"""The parts of a program: the order of mini-batches, rates read off a kernel, limits, and lanes of arrays."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tangentbench.runners import build
from tangentbench.runners.build import Program, batch_order, dataset, divergence_limit, kernel_rate
from tangentbench.tasks.model_options import ModelOptions
from tangentbench.tasks.options import Options

from .tiny import MODEL, part, tiny_cell

KEY = jax.random.PRNGKey(5)


compiled_order = jax.jit(batch_order, static_argnums=(2, 3, 4))


def order(start, steps, n, size, key=KEY):
    return np.asarray(compiled_order(key, jnp.asarray(start, jnp.int32), steps, n, size))


def by_hand(steps, n, size, key=KEY):
    """Epoch after epoch, a permutation of all examples cut into batches, what is left over dropped."""
    rows, epoch = [], 0
    while len(rows) < steps:
        permutation = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), n))
        rows += [permutation[i : i + size] for i in range(0, n - size + 1, size)]
        epoch += 1
    return np.array(rows[:steps])


@pytest.mark.parametrize(("n", "size"), [(7, 2), (5, 5), (4, 1)])
def test_every_epoch_is_a_permutation_without_its_tail(n, size):
    steps, per_epoch = 13, n // size
    found = order(0, steps, n, size)
    assert np.array_equal(found, by_hand(steps, n, size))
    for epoch in range(steps // per_epoch):
        seen = found[epoch * per_epoch : (epoch + 1) * per_epoch].ravel()
        assert len(set(seen)) == per_epoch * size and set(seen) <= set(range(n))


def test_the_order_does_not_depend_on_where_one_starts_to_look():
    whole = order(0, 23, 7, 2)
    pieces = np.concatenate([order(start, 5, 7, 2) for start in range(0, 23, 5)])
    assert np.array_equal(pieces[:23], whole)
    assert not np.array_equal(order(1, 23, 7, 2), whole)
    assert not np.array_equal(order(0, 23, 7, 2, jax.random.PRNGKey(6)), whole)


def test_epochs_differ_and_leave_out_different_examples():
    epochs = order(0, 3 * 8, 7, 2).reshape(8, 6)
    assert len({tuple(epoch) for epoch in epochs}) == 8
    assert len({7 * 6 // 2 - epoch.sum() for epoch in epochs}) > 1  # the example that was left out


def test_a_rate_read_off_a_kernel_is_the_dense_one():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for n in (1, 9):
            matrix = rng.normal(size=(n, 20))
            kernel = matrix @ matrix.T
            found = float(kernel_rate(2 / n, jnp.asarray(kernel), KEY))
            assert found == pytest.approx(n / np.linalg.eigvalsh(kernel)[-1], rel=1e-10)


def test_the_limit_of_divergence_follows_the_width():
    assert divergence_limit(part("model", "wide", **MODEL)) == 5000
    assert divergence_limit(part("model", "wide", depth=2, width=[5, 9], activation="relu")) == 9000
    assert divergence_limit(part("model", "general_quadratic", gamma=1e-2)) == pytest.approx(1e7)
    bottleneck = part("model", "bottleneck", depth=3, width=8, bottleneck_width=2, at=[2])
    assert divergence_limit(bottleneck) == 8000


@pytest.mark.parametrize("options", [ModelOptions, Options, None], ids=["of ours", "own", "none"])
def test_a_model_from_elsewhere_has_a_limit(monkeypatch, options):
    class Scaled(ModelOptions):
        @classmethod
        def divergence_scale(cls, options):
            return 7.0 * options["size"]

    def limit(schema, **given):
        monkeypatch.setattr(build.registry, "find", lambda kind, name: SimpleNamespace(schema=lambda: schema))
        return divergence_limit({"name": "other", **given})

    assert limit(options) == 1000 and limit(options, width=4) == 4000
    assert limit(options, gamma=1e-3) == 1000  # the general quadratic model's only
    assert limit(Scaled, size=3) == 21


def test_the_scale_of_a_loss_is_the_mean_squared_target():
    cell = tiny_cell(dataset=part("dataset", "gaussian_mixture", dim=4, classes=3, train=6))
    with jax.enable_x64(True):
        lane = Program(cell, dataset(cell, 0)).lane(cell, 0)
    assert float(lane.scale) == pytest.approx(1)  # one-hot rows: |y|² is 1, whatever the number of outputs


def test_data_are_made_once_per_stream_and_seed():
    cell = tiny_cell()
    assert dataset(cell, 0) is dataset(cell.model_copy(update={"model": {}, "task": "other"}), 0)
    assert dataset(cell, 0) is not dataset(cell, 1)
    assert dataset(cell, 0).content_hash() != dataset(cell.model_copy(update={"stream": 1}), 0).content_hash()


def test_a_lane_without_a_compiler_has_shapes_only():
    cell = tiny_cell(model=part("model", "wide", expansion="linear", **MODEL))
    with jax.enable_x64(True):
        lane = Program(cell, dataset(cell, 0)).lane(cell, 0)
    leaves = jax.tree.leaves(lane.origin)
    assert sorted(leaf.shape for leaf in leaves) == [(1, 5), (5, 3)]
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) and leaf.dtype == "float64" for leaf in leaves)


def test_precision_is_the_cells():
    for precision in ("float32", "float64"):
        cell = tiny_cell(precision=precision)
        with jax.enable_x64(precision == "float64"):
            lane = Program(cell, dataset(cell, 0)).lane(cell, 0)
        arrays = jax.tree.leaves((lane.origin, lane.data, lane.scale, lane.divergence))
        assert {str(array.dtype) for array in arrays} == {precision}


def test_a_period_that_is_no_multiple_of_the_records_is_refused():
    cell = tiny_cell(method=part("method", "catapult_gd", learning_rate=0.1, period=4), record={"every": 3})
    with pytest.raises(ValueError, match="multiple of `record.every`"):
        Program(cell, build.dataset(cell, 0))
