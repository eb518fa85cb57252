"""Compile the loops, once for each kind of processor. Used when the package is built; standard library only."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent


class Kind(NamedTuple):
    """A kind of processor: what torch.cpu.get_capabilities() calls what it must have, and the compiler's flags for it."""

    needs: tuple[str, ...]
    flags: tuple[str, ...]


_AVX512 = ("avx512_f", "avx512_cd", "avx512_bw", "avx512_dq", "avx512_vl")
KINDS = {
    "avx2": Kind(("avx2", "fma3"), ("-mavx2", "-mfma")),
    "avx512": Kind(_AVX512, ("-march=x86-64-v4",)),
    "avx512_bf16": Kind((*_AVX512, "avx512_bf16"), ("-march=x86-64-v4", "-mavx512bf16")),
}
"""By speed."""

SOURCES = ("kernels.cpp", "blocks.cpp", "convolution.cpp", "splitting.cpp")
FLAGS = ("-O3", "-std=c++20", "-fopenmp", "-fPIC", "-fno-math-errno", "-fno-trapping-math")


def build(folder: Path = FOLDER) -> list[Path]:
    """The libraries, in this folder: fewer, or none, where there is no compiler or an old one. What was there before is removed."""
    for name in KINDS:
        (folder / f"{name}.so").unlink(missing_ok=True)
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return []
    return [library for name, kind in KINDS.items() if (library := _build(folder / f"{name}.so", kind))]


def _build(library: Path, kind: Kind) -> Path | None:
    compiler = os.environ.get("CXX", "c++")
    with tempfile.TemporaryDirectory() as folder:
        linked = Path(folder) / library.name
        compiled = [str(Path(folder) / f"{name}.o") for name in SOURCES]
        commands = (
            *(
                [compiler, *FLAGS, *kind.flags, "-c", str(FOLDER / name), "-o", to]
                for name, to in zip(SOURCES, compiled, strict=True)
            ),
            # Without -fopenmp: its functions are those of the runtime that torch has loaded, so that there is one pool of threads.
            [compiler, "-shared", "-s", *compiled, "-o", str(linked)],
        )
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (our source, the user's compiler)
        except (OSError, subprocess.CalledProcessError):
            return None
        library.write_bytes(linked.read_bytes())
    return library
