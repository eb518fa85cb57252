"""What a user gets: sdist -> wheel -> a fresh folder, run from somewhere else."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deblur_cli import __version__

ROOT = Path(__file__).parents[1]


def run(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    with tarfile.open(folder / f"deblur_cli-{__version__}.tar.gz") as sdist:
        assert f"deblur_cli-{__version__}/weights.toml" in sdist.getnames()
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_package_and_its_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"deblur_cli/weights.toml", "deblur_cli/py.typed", "deblur_cli/compact.safetensors"} <= set(names)
    assert {
        f"deblur_cli/web/static/{name}" for name in ("index.html", "app.js", "style.css", "words.js")
    } <= set(names)
    assert not [name for name in names if "axe" in name or name.endswith(".cpp")]
    compiled = [name for name in names if name.endswith(".so")]
    assert wheel.name.endswith("-py3-none-any.whl") == (not compiled)  # as there was a compiler, or none
    assert {name.split("/")[0] for name in names} == {"deblur_cli", f"deblur_cli-{__version__}.dist-info"}


def test_the_container_copies_all_that_the_wheel_is_made_of(wheel: Path, tmp_path: Path) -> None:
    for line in re.findall(r"^COPY (?!--)(.*) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE):
        (tmp_path / "source").mkdir(exist_ok=True)
        for name in line.split():
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tmp_path / "source" / name)
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, tmp_path / "source", cwd=tmp_path)
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(tmp_path / wheel.name) as containers:
        assert set(ours.namelist()) == set(containers.namelist())


def test_the_installed_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    run("-m", "pip", "install", "--no-deps", "--no-index", "--target", installed, wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = installed / "bin/deblur"
    assert run(script, "--version", cwd=elsewhere, PYTHONPATH=str(installed)) == f"deblur {__version__}\n"
    where = "from deblur_cli.registry import weights_toml, load_registry; print(weights_toml()); print(*load_registry())"
    path, names = run("-c", where, cwd=elsewhere, PYTHONPATH=str(installed)).splitlines()
    assert path == str(installed / "deblur_cli/weights.toml")
    assert names.startswith("compact motion")
