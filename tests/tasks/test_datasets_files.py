"""Files of public data sets: kept where asked, whole or absent, and what is missing is said in one line."""

import hashlib
from pathlib import Path

import pytest

from tangentbench.tasks.datasets import DatasetUnavailable, files, images
from tangentbench.tasks.datasets.files import PublicFile, fetch, folder

from .public_files import NOWHERE, keep, pinned, server

PAGES = {"a.bin": b"a" * 5000, "b.bin": b"b" * 700}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TANGENTBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "localhost")
    return tmp_path / "letters"


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()} - {".lock"}


def test_the_folder():
    assert folder({"TANGENTBENCH_DATA": "~/x"}) == Path.home() / "x"
    assert folder({}).parts[-2:] == ("tangentbench", "data") and folder({}).is_absolute()


def test_a_file_is_downloaded_once(place):
    with server(PAGES) as (address, asked):
        for _ in range(2):
            found = fetch("letters", pinned(PAGES, address))
    assert found == [place / "a.bin", place / "b.bin"]
    assert [path.read_bytes() for path in found] == [*PAGES.values()]
    assert asked == ["/a.bin", "/b.bin"] and names(place) == {"a.bin", "b.bin"}


def test_the_next_address_helps_out(place):
    with server({"a.bin": b"another"}) as (wrong, _), server(PAGES) as (right, asked):
        (path,) = fetch("letters", pinned(PAGES, NOWHERE, wrong, right)[:1])
        assert path.read_bytes() == PAGES["a.bin"] and asked == ["/a.bin"]


def test_what_is_put_there_by_hand_needs_no_network(place):
    keep(place, PAGES)
    assert fetch("letters", pinned(PAGES, NOWHERE)) == [place / "a.bin", place / "b.bin"]
    assert names(place) == set(PAGES)
    place.chmod(0o500)
    try:
        assert len(fetch("letters", pinned(PAGES, NOWHERE))) == 2
    finally:
        place.chmod(0o700)


def test_a_damaged_file_is_replaced_only_by_the_right_one(place):
    keep(place, {"a.bin": b"damaged"})
    with (
        server(PAGES, cut=100) as (address, _),
        pytest.raises(DatasetUnavailable, match="files of letters are damaged"),
    ):
        fetch("letters", pinned(PAGES, address)[:1])
    assert (place / "a.bin").read_bytes() == b"damaged" and names(place) == {"a.bin"}
    with server(PAGES) as (address, _):
        fetch("letters", pinned(PAGES, address)[:1])
    assert (place / "a.bin").read_bytes() == PAGES["a.bin"]


@pytest.mark.parametrize(("pages", "cut"), [(PAGES, 4000), ({"a.bin": b"x"}, None), ({}, None)])
def test_part_of_a_file_is_never_kept(place, pages, cut):
    with server(pages, cut) as (address, _), pytest.raises(DatasetUnavailable):
        fetch("letters", pinned(PAGES, address)[:1])
    assert names(place) == set()


def test_one_line_says_what_to_put_where(place):
    keep(place, {"b.bin": PAGES["b.bin"]})
    with pytest.raises(DatasetUnavailable) as caught:
        fetch("letters", pinned(PAGES, NOWHERE))
    assert caught.value.reason == "files of letters are missing and cannot be downloaded: ConnectionError"
    digest = hashlib.sha256(PAGES["a.bin"]).hexdigest()[:16]
    assert caught.value.how_to_get == f"put a.bin (sha256 {digest}…) from {NOWHERE} into $TANGENTBENCH_DATA/letters"


def test_the_line_names_no_user(monkeypatch, tmp_path):
    monkeypatch.delenv("TANGENTBENCH_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files._shown(tmp_path / "cache" / "letters") == "~/cache/letters"


def test_nothing_is_looked_for_when_it_is_off(place, monkeypatch):
    keep(place, PAGES)
    monkeypatch.setenv("TANGENTBENCH_DATA", "Off")
    with pytest.raises(DatasetUnavailable, match=r"letters is not looked for: TANGENTBENCH_DATA is off \(unset it"):
        fetch("letters", pinned(PAGES, NOWHERE))


def test_without_pooch(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DatasetUnavailable, match=r"pooch is not installed \(pip install pooch\)"):
        fetch("letters", pinned(PAGES, NOWHERE))


@pytest.mark.parametrize("name", images.FILES)
def test_pinned_files(name):
    """The line for all files of a data set fits into a run's message, and no hash is mistyped in length or alphabet."""
    for file in images.FILES[name]:
        assert len(file.sha256) == 64 and set(file.sha256) <= set("0123456789abcdef")
        assert file.folders and all(f.startswith("http") and f.endswith("/") for f in file.folders)
    assert len({file.sha256 for known in images.FILES.values() for file in known}) == 11
    unreachable = tuple(PublicFile(file.name, file.sha256, (NOWHERE,)) for file in images.FILES[name])
    with pytest.raises(DatasetUnavailable) as caught:
        fetch(name, unreachable)
    line = str(caught.value).replace(NOWHERE, max((file.folders[0] for file in images.FILES[name]), key=len))
    assert "\n" not in line and len(line) < 500
