"""What asv is given: a wrong number, a stale one or a missing one never passes for a measurement."""

import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pandas
import pytest

from benchmarks import clock, kernels, planted, science

SUITE = science.SUITE
TRACK = science.Track("f/t", "t.yaml", "test_loss", "test_loss", {"model.width": 64}, "v")


def table(**changes) -> pandas.DataFrame:
    """Eight seeds of two cells and two metrics, with changes to seed 3 of the cell that is tracked."""
    rows = []
    for seed in range(8):
        for width in (32, 64):
            for metric in ("test_loss", "kernel_change"):
                row = {"seed": seed, "model.width": width, "metric": metric, "value": 1.0 + seed / 10}
                row |= {"status": "ok", "outcome": "monotone"}
                rows.append(row | (changes if (seed, width, metric) == (3, 64, "test_loss") else {}))
    return pandas.DataFrame(rows)


def test_every_metric_that_a_claim_rests_on_is_tracked_once():
    from tangentbench.tasks import load

    wanted = {
        (task.id, claim.options["metric"])
        for task in load.find(tier="smoke")
        for claim in task.claims
        if "metric" in claim.options
    }
    found = [(track.task, track.label) for track in science.TRACKS]
    assert len(found) == len(set(found)) == len({track.benchmark for track in science.TRACKS})
    assert set(found) == wanted


def test_asv_sees_them():
    for track in science.TRACKS:
        function = getattr(science, track.benchmark)
        assert function.benchmark_name == f"science.{track.benchmark}"
        assert "-" not in function.benchmark_name and function.version == track.version
        assert function.timeout and function.unit and function.better in ("lower", "higher", "none")


def test_each_reads_its_own_samples():
    first, second = science.TRACKS[:2]
    cache = {first.benchmark: [1.0, 2.0], second.benchmark: "it diverged"}
    assert getattr(science, first.benchmark)(cache)["samples"] == [1.0, 2.0]
    with pytest.raises(ValueError, match="it diverged"):
        getattr(science, second.benchmark)(cache)


def test_samples_are_the_seeds_of_one_cell():
    assert science.samples(table(), TRACK) == pytest.approx(1 + np.arange(8) / 10)


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "divergent"},
        {"status": "error"},
        {"value": math.inf},
        {"value": math.nan},
        {"value": None},
        {"metric": "gone"},
        {"seed": 4},
    ],
)
def test_a_bad_seed_is_no_sample(changes):
    with pytest.raises(ValueError, match="no finite numbers from 8 seeds"):
        science.samples(table(**changes), TRACK)


def test_better_is_smaller_and_positive():
    """Whatever the direction and the sign: asv calls a rise worse, and takes ratios."""
    for name, direction, worse, better in [
        ("test_loss", "lower", 2.0, 1.0),
        ("work_to_target", "lower", 200.0, 100.0),
        ("agop_alignment", "higher", -0.1, 0.2),
        ("agop_alignment", "higher", 0.7, 0.9),  # raw, its fall would be an improvement
        ("restricted_curvature_margin", "higher", -1.0, -0.5),  # raw, this improvement would be a regression
        ("convex_from", "lower", 3.0, 0.0),
    ]:
        seen = [science.view(name, direction, value) for value in (worse, better)]
        assert seen[0] > seen[1] > 0
    assert science.view("agop_alignment", "higher", 0.4) / science.view("agop_alignment", "higher", 0.5) == (
        pytest.approx(math.exp(0.1))
    )


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, -math.inf, math.nan])
def test_no_view_is_infinite_or_without_sign(value):
    with pytest.raises(ValueError, match="has no view for asv"):
        science.view("test_loss", "lower", value)
    if not math.isfinite(value):
        with pytest.raises(ValueError, match="has no view for asv"):
            science.view("convex_from", "lower", value)


@pytest.fixture
def edited(tmp_path):
    """Digests of one task file after an edit."""
    name = "quadratic/peak_loss.yaml"
    target = tmp_path / name
    target.parent.mkdir()

    def versions(old: str = "", new: str = "") -> set[str]:
        shutil.copy(SUITE / name, target)
        text = target.read_text()
        assert old in text
        target.write_text(text.replace(old, new) if old else text)
        return {track.version for track in science.tracks(tmp_path)}

    return versions


def test_an_edited_task_is_another_benchmark(edited):
    (before,) = edited()
    assert {track.version for track in science.TRACKS if track.task == "quadratic/peak_loss"} == {before}
    assert edited("critical: 1.5}\n    exponent", "critical: 0.9}\n    exponent") != {before}, "another cell is read"
    assert edited("title: ", "# a remark\ntitle: ") == {before}
    assert edited("version: 1", "version: 2") != {before}
    assert edited("activation: relu", "activation: tanh") != {before}


def test_a_task_that_the_package_does_not_know_takes_no_other_with_it(tmp_path):
    for name in ("peak_loss", "boundaries"):
        shutil.copy(SUITE / "quadratic" / f"{name}.yaml", tmp_path)
    broken = tmp_path / "peak_loss.yaml"
    broken.write_text(broken.read_text().replace("activation: relu", "activation: of_the_future"))
    assert {Path(track.path).stem for track in science.tracks(tmp_path)} == {"boundaries"}


def test_kernels_say_which_of_their_numbers_are_exact():
    """What the compiler counts is compared to the last digit; what a clock or the system says is not."""
    methods = {name: m for name, m in vars(kernels._Kernel).items() if name.startswith(("time_", "peakmem_", "track_"))}
    exact = {name for name, method in methods.items() if getattr(method, "exact", False)}
    assert exact == {f"track_{of}" for of in ("operations", "bytes_accessed", "temporary_bytes", "instructions")}
    assert set(methods) - exact == {"time_kernel", "peakmem_kernel", "track_compile"}
    assert all(methods[name].unit for name in exact) and kernels._Kernel.version


class Late:
    """What a call returns before it is there."""

    def block_until_ready(self):
        time.sleep(0.05)
        return self


def test_the_harness_waits_for_what_it_times():
    kernel = kernels._Kernel()
    kernel.compiled, kernel.params, kernel.x = (lambda *_: Late()), None, None
    for way in (clock.timed(Late), clock.timed(kernel.time_kernel)):
        assert way() >= 0.05


def test_asv_is_told_what_it_cannot_guess(root):
    """Its defaults build wheels of all dependencies, and stop where no kind of environment is named."""
    lines = (root / "asv.conf.json").read_text().splitlines()
    conf = json.loads("".join(line for line in lines if not line.strip().startswith("//")))
    assert conf["environment_type"] == "virtualenv"
    (build,), (install,) = conf["build_command"], conf["install_command"]
    assert "--no-deps" in build and install.endswith("-c {conf_dir}/constraints.txt {wheel_file}")


def test_a_slow_kernel_is_found_in_turns(monkeypatch):
    from tangentbench.runners.changes import Margin, shift

    def measured(counts, factor):
        times = [{k: 0.1 * (1 + k % 7) for k in range(60)}]  # a machine that is up to seven times slower
        times.append({k: factor * t * (1 + 0.1 * (-1) ** k) for k, t in times[0].items()})
        before = {"operations": 100.0, "instructions": 10.0}
        found = (
            [before, {name: count * counts for name, count in before.items()}],
            shift(*times, Margin(0.1), paired=True),
        )
        monkeypatch.setattr(planted, "in_turns", lambda packages, rounds: found)
        return planted.slow_kernel(Path(), Path(), 60)

    assert measured(1.5, 1.5).startswith("operations +50%, instructions +50%, 60 pairs of times slower +49% [")
    assert measured(1.0, 1.0).startswith("60 pairs of times equivalent")
    assert measured(1.0, 0.7).startswith("60 pairs of times faster")


def test_every_kernel_can_be_traced():
    import equinox as eqx
    import jax

    from tangentbench import models

    classes = [c for c in vars(kernels).values() if isinstance(c, type) and issubclass(c, kernels._Kernel)][1:]
    assert len(classes) >= 8
    for kernel in classes:
        case = kernel()
        params, rest = models.partition(case.model())
        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(params)]
        tree, x = jax.tree.structure(params), jax.ShapeDtypeStruct((case.examples, kernels.DIM), "float32")

        def answer(leaves, x, case=case, rest=rest, tree=tree):
            return case.function(eqx.combine(jax.tree.unflatten(tree, leaves), rest), x)

        assert all(leaf.dtype == "float32" for leaf in jax.tree.leaves(jax.eval_shape(answer, shapes, x)))
