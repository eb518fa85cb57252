"""The files around the program, for those who carry it on: they name what is there."""

import re
import tomllib
from pathlib import Path

from deblur_cli import __version__

ROOT = Path(__file__).parents[1]
CONTAINER = (ROOT / "Containerfile").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
)


def test_the_citation_is_of_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_container_runs_as_a_normal_user() -> None:
    (user,) = re.findall(r"^USER (\d+)$", CONTAINER, re.MULTILINE)
    assert int(user) >= 1000
    assert CONTAINER.index("USER") > CONTAINER.rindex("RUN")


def test_the_container_sees_what_it_copies_and_nothing_else() -> None:
    copied = [
        name
        for line in re.findall(r"^COPY (?!--)(.*) \S+$", CONTAINER, re.MULTILINE)
        for name in line.split()
    ]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[0] == "*"
    assert sorted(copied) == sorted(line[1:] for line in ignored if line.startswith("!"))


def test_the_workflow_runs_tests_that_exist() -> None:
    named = re.findall(r"\S+/test_\w+\.py", WORKFLOW)
    assert named
    assert all((ROOT / name).is_file() for name in named)


def test_container_and_workflow_install_extras_that_exist() -> None:
    asked = re.findall(r"['\"]\.\[([\w,]+)\]['\"]", CONTAINER + WORKFLOW)
    assert len(asked) == 2
    assert {name for names in asked for name in names.split(",")} <= EXTRAS
