import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from deblur_cli.errors import UsageError
from deblur_cli.jobs import Job, Naming, natural_key, parse_shard, plan_batch, plan_photos, read_list
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
        (["a.jpg", "c.png"], "z.jpg", "2 photos cannot go into one file"),
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


@pytest.mark.parametrize(
    ("names", "output", "expected"),
    [
        (["in/IMG_1.heic", "in/IMG_1.jpg"], "out", ["out/IMG_1.heic.jpg", "out/IMG_1.jpg"]),
        (["in/IMG_1.heic", "in/IMG_1.jpg"], None, ["in/IMG_1.heic_sharp.jpg", "in/IMG_1_sharp.jpg"]),
        (["in/IMG_1.heic"], "out", ["out/IMG_1.jpg"]),
        (["in/A.jpg", "in/a.jpg"], "out", ["out/A.jpg", "out/a.jpg.jpg"]),
        (["in/A.JPG", "in/a.jpg", "in/a.jpg.jpg"], "out", ["out/A.JPG", "out/a.jpg-2.jpg", "out/a.jpg.jpg"]),
        (["in/\u00e9.jpg", "in/e\u0301.jpg"], "out", ["out/e\u0301.jpg", "out/\u00e9.jpg.jpg"]),
        (["in/a.jpg", "in/a.png"], None, ["in/a_sharp.jpg", "in/a_sharp.png"]),
    ],
)
def test_no_two_photos_share_a_target_on_any_file_system(
    names: list[str], output: str | None, expected: list[str], tree: Tree
) -> None:
    tree(*names)
    plan = plan_batch(["in"], naming(output), looks_like_photo)
    assert sorted(filter(None, targets(plan.jobs))) == sorted(expected)
    assert not plan.refused


def test_of_two_names_the_photo_that_keeps_its_extension_keeps_its_own_whatever_the_order(tree: Tree) -> None:
    tree("in/IMG_1.heic", "in/IMG_1.jpg")
    for inputs in (["in/IMG_1.heic", "in/IMG_1.jpg"], ["in/IMG_1.jpg", "in/IMG_1.heic"]):
        plan = plan_batch(inputs, naming("out"), looks_like_photo)
        found = {str(job.source): str(job.target) for job in plan.jobs}
        assert found == {"in/IMG_1.heic": "out/IMG_1.heic.jpg", "in/IMG_1.jpg": "out/IMG_1.jpg"}


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".jpg", "é" * 125 + ".jpg", os.fsdecode(b"\xff" * 251 + b".jpg")]
)
def test_a_long_name_is_cut_between_two_characters(name: str, tree: Tree) -> None:
    tree(f"in/{name}")
    (job,) = plan_batch(["in"], naming(), looks_like_photo).jobs
    assert job.target
    assert len(os.fsencode(job.target.name)) <= 255
    assert job.target.name.endswith("_sharp.jpg")
    assert job.target.name[:100] == name[:100]


def test_several_folders_go_under_their_own_names(tree: Tree) -> None:
    tree("a/1.jpg", "b/1.jpg", "c.jpg")
    plan = plan_batch(["a", "b/", "c.jpg"], naming("out"), looks_like_photo)
    assert targets(plan.jobs) == ["out/a/1.jpg", "out/b/1.jpg", "out/c.jpg"]


def test_a_photo_found_twice_is_one_job(tree: Tree) -> None:
    tree("in/sub/1.jpg", "in/2.jpg")
    plan = plan_batch(["in", "in/sub", "./in/2.jpg", "in/*.jpg"], naming(), looks_like_photo)
    assert targets(plan.jobs) == ["in/2_sharp.jpg", "in/sub/1_sharp.jpg"]


def test_a_linked_folder_comes_last_and_only_if_it_is_not_there_itself(tree: Tree) -> None:
    root = tree("in/z/1.jpg", "else/2.jpg")
    (root / "in/a").symlink_to(root / "in/z")
    (root / "in/b").symlink_to(root / "else")
    plan = plan_batch(["in"], naming("out"), looks_like_photo)
    assert targets(plan.jobs) == ["out/z/1.jpg", "out/b/2.jpg"]


def test_links_that_lead_nowhere_are_refused_one_by_one(tree: Tree) -> None:
    root = tree("in/a.jpg")
    (root / "in/loop.jpg").symlink_to("loop.jpg")
    (root / "in/lost.jpg").symlink_to("nowhere.jpg")
    plan = plan_batch(["in"], naming("out"), looks_like_photo)
    assert targets(plan.jobs) == ["out/a.jpg"]
    assert [str(error) for _, error in plan.refused] == [
        "in/loop.jpg: cannot be read: Too many levels of symbolic links",
        "in/lost.jpg: no such file",
    ]


def test_listed_photos_keep_their_folders(tree: Tree) -> None:
    root = tree("x/a.jpg", "x/y/b.jpg", "z/c.jpg")
    listed = ["x/a.jpg", "x/../z/c.jpg", str(root / "x/y/b.jpg")]
    plan = plan_batch([], naming("out"), looks_like_photo, listed=listed)
    below_root = root.relative_to("/").as_posix()
    assert targets(plan.jobs) == ["out/x/a.jpg", "out/x/z/c.jpg", f"out/{below_root}/x/y/b.jpg"]


def test_shares_depend_on_names_alone() -> None:
    names = [f"sub/{number}.jpg" for number in range(1000)]
    shares = [[name for name in names if parse_shard(f"{i}/7").takes(name)] for i in range(1, 8)]
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(100 < len(share) < 200 for share in shares)
    assert parse_shard("3/7").takes("sub/1.jpg") == (zlib.crc32(b"sub/1.jpg") % 7 == 2)


def test_a_list_with_nul_bytes_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"NUL bytes\n.*add -0"):
        read_list(io.BytesIO(b"a.png\0b.png\0"))
