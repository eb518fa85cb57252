"""The lines of docs/editors.md that stand between an editor and deblur, as a shell runs them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = Path(__file__).parents[1] / "docs/editors.md"


@pytest.mark.skipif(shutil.which("sh") is None, reason="they are for a shell of Unix")
def test_a_photo_is_sharpened_in_its_place(tmp_path: Path) -> None:
    (lines,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "deblur-in-place").write_text(lines)
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (24, 1))
    Image.fromarray(ramp).save(tmp_path / "my photo.tif")
    before = (tmp_path / "my photo.tif").read_bytes()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(*photos: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", "deblur-in-place", *photos]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    missing = run("no photo.tif", "my photo.tif")
    assert missing.returncode == 1
    assert "no photo.tif" in missing.stderr
    assert (tmp_path / "my photo.tif").read_bytes() == before
    done = run("my photo.tif")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "my photo.tif").read_bytes() != before
    with Image.open(tmp_path / "my photo.tif") as photo:
        assert photo.size == (32, 24)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deblur-in-place", "my photo.tif"]
