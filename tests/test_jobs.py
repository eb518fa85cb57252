import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deblur_cli.errors import UsageError
from deblur_cli.jobs import Job, Naming, natural_key, plan_batch, plan_photos
from deblur_cli.photo import format_of_name, looks_like_photo, output_extension

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Makes files of these names in a fresh folder, which becomes the current one."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        return tmp_path

    return make


def naming(output: str | None = None, *, suffix: str = "_sharp", overwrite: bool = False) -> Naming:
    return Naming(output, suffix, overwrite, output_extension, format_of_name)


def targets(jobs: tuple[Job, ...]) -> list[str | None]:
    return [None if job.target is None else job.target.as_posix() for job in jobs]


@pytest.mark.parametrize(
    ("sources", "output", "expected"),
    [
        (["a.jpg"], None, ["a_sharp.jpg"]),
        (["sub/a.JPG"], None, ["sub/a_sharp.JPG"]),
        (["a.jpg"], "b.png", ["b.png"]),
        (["a.jpg"], "new/b.png", ["new/b.png"]),
        (["a.jpg"], "new/", ["new/a.jpg"]),
        (["a.jpg"], "sub", ["sub/a.jpg"]),
        (["a.jpg", "c.png"], "new", ["new/a.jpg", "new/c.png"]),
        (["a.jpg", "a.jpg"], None, ["a_sharp.jpg"]),
        (["a.jpg"], "-", [None]),
        (["-"], None, [None]),
        (["-"], "b.png", ["b.png"]),
    ],
)
def test_where_results_go(
    sources: list[str], output: str | None, expected: list[str | None], tree: Tree
) -> None:
    tree("a.jpg", "c.png", "sub/a.JPG")
    plan = plan_photos(sources, naming(output))
    assert not plan.refused
    assert targets(plan.jobs) == expected


@pytest.mark.parametrize(
    ("sources", "output", "message"),
    [
        (["a.jpg", "c.png"], "-", "several photos cannot go to standard output"),
        (["a.jpg", "c.png"], "c.png", "c.png is a file, but there are 2 photos"),
        (["-"], "sub/", "standard input has no name"),
        (["a.jpg", "sub/a.jpg"], "new/", r"a.jpg and sub/a.jpg would both be written to new/a.jpg"),
        (["a.jpg", "sub/A.jpg"], "new/", r"a.jpg and sub/A.jpg would both be written to new/A.jpg"),
        (["a.jpg"], "b.xyz", "cannot be written as .xyz"),
    ],
)
def test_outputs_that_do_not_go_with_the_inputs(
    sources: list[str], output: str, message: str, tree: Tree
) -> None:
    tree("a.jpg", "c.png", "sub/a.jpg", "sub/A.jpg")
    with pytest.raises(UsageError, match=message):
        plan_photos(sources, naming(output))


@pytest.mark.parametrize("suffix", ["", "/x", "a/../b"])
def test_a_suffix_must_be_part_of_a_name(suffix: str, tree: Tree) -> None:
    tree("a.jpg")
    with pytest.raises(UsageError, match="--suffix"):
        plan_photos(["a.jpg"], naming(suffix=suffix))


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("none.jpg", None, "none.jpg: no such file"),
        ("sub", None, r"sub: is a folder\nTo restore all photos in it: deblur batch sub"),
        ("a.jpg", "a.jpg", "a.jpg: is itself an input"),
        ("a.jpg", "link.jpg", "link.jpg: is itself an input"),
        ("a.jpg", "old.jpg", r"old.jpg: exists already\n.*--overwrite"),
        ("a.jpg", None, "a_sharp.jpg: is a folder"),
        ("pipe", "b.png", "pipe: is no file"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(
    source: str, output: str | None, message: str, tree: Tree
) -> None:
    root = tree("a.jpg", "old.jpg", "sub/x.jpg", "a_sharp.jpg/x")
    (root / "link.jpg").symlink_to("a.jpg")
    os.mkfifo(root / "pipe")
    plan = plan_photos([source], naming(output))
    assert not plan.jobs
    ((job, error),) = plan.refused
    assert job.name == source
    import re

    assert re.match(message, str(error))


def test_overwrite_allows_an_old_target_but_never_an_input(tree: Tree) -> None:
    tree("a.jpg", "old.jpg")
    assert targets(plan_photos(["a.jpg"], naming("old.jpg", overwrite=True)).jobs) == ["old.jpg"]
    assert not plan_photos(["a.jpg"], naming("a.jpg", overwrite=True)).jobs


def test_a_batch_keeps_the_tree_and_a_natural_order(tree: Tree) -> None:
    tree(
        "in/2.jpg", "in/10.jpg", "in/b/1.PNG", "in/a/1.png", "in/notes.txt", "in/.hidden.jpg", "in/.git/x.jpg"
    )
    plan = plan_batch(["in"], naming("out"), looks_like_photo)
    assert targets(plan.jobs) == ["out/2.jpg", "out/10.jpg", "out/a/1.png", "out/b/1.PNG"]
    assert plan.passed_over == {"hidden": 2, "not a photo": 1}


def test_a_batch_beside_its_inputs_leaves_its_own_results_alone(tree: Tree) -> None:
    tree("in/a.jpg", "in/a_sharp.jpg", "in/my_sharp.jpg")
    plan = plan_batch(["in"], naming(overwrite=True), looks_like_photo)
    assert targets(plan.jobs) == ["in/a_sharp.jpg", "in/my_sharp_sharp.jpg"]
    assert plan.passed_over == {"a result of deblur": 1}


def test_a_batch_into_a_folder_of_its_input_leaves_that_alone(tree: Tree) -> None:
    tree("in/a.jpg", "in/out/a.jpg")
    plan = plan_batch(["in"], naming("in/out", overwrite=True), looks_like_photo)
    assert targets(plan.jobs) == ["in/out/a.jpg"]


def test_a_batch_survives_a_loop_of_links(tree: Tree) -> None:
    root = tree("in/a.jpg", "in/sub/b.jpg")
    (root / "in/sub/again").symlink_to(root / "in")
    plan = plan_batch(["in"], naming("out"), looks_like_photo)
    assert targets(plan.jobs) == ["out/a.jpg", "out/sub/b.jpg"]


def test_a_batch_takes_photos_too(tree: Tree) -> None:
    tree("a.jpg", "in/b.jpg")
    plan = plan_batch(["a.jpg", "in"], naming("out"), looks_like_photo)
    assert targets(plan.jobs) == ["out/a.jpg", "out/b.jpg"]


@pytest.mark.parametrize(
    ("folder", "output", "message"),
    [
        ("none", None, "none: no such file or folder"),
        ("in", "file", "file is a file, but a batch writes into a folder"),
    ],
)
def test_a_batch_of_nothing_or_into_a_file_is_an_error(
    folder: str, output: str | None, message: str, tree: Tree
) -> None:
    tree("in/a.jpg", "file")
    with pytest.raises(UsageError, match=message):
        plan_batch([folder], naming(output), looks_like_photo)


def test_natural_order() -> None:
    names = ["IMG10.jpg", "img9.jpg", "IMG9b.jpg", "a.jpg", "10.jpg", "9.jpg", "IMG9.jpg"]
    assert sorted(names, key=natural_key) == [
        "9.jpg",
        "10.jpg",
        "a.jpg",
        "IMG9.jpg",
        "img9.jpg",
        "IMG9b.jpg",
        "IMG10.jpg",
    ]
