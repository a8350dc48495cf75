"""The figure of both boards: what is drawn where, and files that do not change by themselves."""

from dataclasses import replace

import pytest

from tangentbench.runners import verdicts as judge
from tangentbench.runners.plots import COLOURS, MARKERS, boards_figure, interval_places, position, save

from .test_tables import VERDICTS, make_arena, make_verdict


def test_regions_line_up_on_the_shared_axis():
    two_sided = make_verdict()
    assert position(-0.65, two_sided) == pytest.approx(0.0)
    assert position(-0.35, two_sided) == pytest.approx(1.0)
    assert position(-0.5, two_sided) == pytest.approx(0.5)
    assert position(1e9, two_sided) == pytest.approx(3.05)


def test_one_sided_regions_have_their_accepted_side_right():
    least = make_verdict(region_low=0.5, region_high=None, value=1.0, low=0.75, high=1.5)
    assert [position(x, least) for x in (0.5, 0.75, 1.5)] == pytest.approx([0.0, 0.25, 1.0])
    most = make_verdict(region_low=None, region_high=0.5, value=1.0, low=0.25, high=1.5)
    assert [position(x, most) for x in (0.5, 0.25, 1.5)] == pytest.approx([0.0, 0.25, -1.0])
    exact = make_verdict(region_low=None, region_high=0.5, value=0.5, low=0.5, high=0.5)
    assert position(0.5, exact) == 0.0


def test_an_unbounded_end_runs_off_the_axis():
    assert interval_places(make_verdict(low=-0.5, high=None)) == pytest.approx([0.5, 3.05])
    assert interval_places(make_verdict(low=None, high=None)) == pytest.approx([-2.05, 3.05])
    most = make_verdict(region_low=None, region_high=0.5, value=1.0, low=0.25, high=None)
    assert interval_places(most)[0] == pytest.approx(-2.05)  # what is accepted lies right


def test_ratios_are_placed_as_logarithms():
    ratio = make_verdict(region_low=0.5, region_high=2.0, scale="log", value=1.0, low=0.9, high=1.1)
    assert position(1.0, ratio) == pytest.approx(0.5)
    assert position(0.0, ratio) == pytest.approx(-2.05)


def test_every_verdict_has_a_colour_and_a_marker_of_its_own():
    assert len(set(COLOURS.values())) == len(set(MARKERS.values())) == len(judge.VERDICTS)
    assert set(COLOURS) == set(MARKERS)


def texts(figure) -> list[str]:
    from matplotlib.text import Text

    return [item.get_text() for item in figure.findobj(Text)]


def test_both_boards_are_in_the_figure(recwarn):
    arena = make_arena()
    better = replace(
        arena, task="arena/digits", rows=(replace(arena.rows[0], score=0.5, low=0.4, high=0.6), *arena.rows[1:])
    )
    figure = boards_figure([arena, better], VERDICTS)
    figure.draw_without_rendering()
    words = texts(figure)
    for word in ("arena/monomial", "arena/digits", "sgd  (1–2)", "no stable point", "not run", "wide/hessian: shrinks"):
        assert word in words, word
    assert any("2 divergent" in word for word in words)
    axes = {ax.get_title(loc="left"): ax for ax in figure.findobj(type(figure.axes[0]))}
    assert axes["arena/monomial"].get_xscale() == "linear"
    assert axes["arena/digits"].get_xscale() == "log"
    assert not [w for w in recwarn if "constrained" in str(w.message)]


@pytest.mark.parametrize("arenas, verdicts", [([], VERDICTS), ([make_arena()], []), ([], [])])
def test_a_missing_board_is_left_out(arenas, verdicts, tmp_path):
    save(boards_figure(arenas, verdicts), tmp_path / "boards.png")
    assert (tmp_path / "boards.png").stat().st_size > 1000


def test_an_svg_is_the_same_every_time(tmp_path):
    for name in ("a.svg", "b.svg"):
        save(boards_figure([make_arena()], VERDICTS), tmp_path / name)
    first = (tmp_path / "a.svg").read_text()
    assert first == (tmp_path / "b.svg").read_text()
    assert "<dc:date>" not in first and str(tmp_path) not in first
    with pytest.raises(ValueError, match="saved as .svg or .png"):
        save(boards_figure([], VERDICTS), tmp_path / "boards.pdf")


@pytest.mark.parametrize(
    "scores",
    [(0.136,), (0.136, 0.1361), (0.1, 0.11, 2.0), (0.0011, 0.3), (1e-9, 1e9), (0.02, 0.25), (0.00011, 0.00012)],
)
@pytest.mark.parametrize("verdicts", [[], VERDICTS])
def test_ticks_of_an_arena_are_apart_and_differ(scores, verdicts):
    """One row whose score is the reference's, too."""
    arena = make_arena()
    row = replace(arena.rows[0], low=None, high=None)
    rows = tuple(replace(row, score=score) for score in scores)
    figure = boards_figure([replace(arena, rows=rows, reference_score=scores[0])], verdicts)
    figure.draw_without_rendering()
    ax = next(ax for ax in figure.findobj(type(figure.axes[0])) if ax.get_title(loc="left") == arena.task)
    left, right = ax.get_xlim()
    ticks = [tick for tick in ax.xaxis.get_major_ticks() if left <= tick.get_loc() <= right]
    boxes = [tick.label1.get_window_extent() for tick in ticks]
    assert len({tick.label1.get_text() for tick in ticks}) == len(ticks) >= 2
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
    assert ax.xaxis.get_offset_text().get_text() == ""  # no "+1.36e-1" beside the axis
