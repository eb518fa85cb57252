"""The table of design, section 2: who may import whom. A module that is not in it is an error."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import deblur_cli

PACKAGE = Path(deblur_cli.__file__).parent
EVERYTHING = "everything"
LAYERS: dict[str, set[str] | str] = {
    "errors": set(),
    "model": {"errors"},
    "tiles": {"errors"},
    "photo": {"errors"},
    "registry": {"errors"},
    "download": {"registry", "errors"},
    "loader": {"model", "registry", "errors"},
    "kernels": set(),
    "stream": {"kernels", "model", "errors"},
    "export": {"model", "stream", "errors"},
    "device": {"errors"},
    "shake": {"kernels", "tiles", "ensemble", "sharpness", "errors"},
    "ensemble": set(),
    "sharpness": {"errors"},
    "restore": {"tiles", "ensemble", "photo", "errors"},
    "evaluate": {"photo", "errors"},
    "isolated": {"errors"},
    "jobs": {"errors"},
    "events": {"jobs", "errors"},
    "journal": {"errors"},
    "storage": {"errors"},
    "batch": {"isolated", "jobs", "events", "journal", "storage", "photo", "errors"},
    "cluster": {"batch", "events", "isolated", "jobs", "errors"},
    "report": {"events", "jobs", "errors"},
    "console": {"events", "report", "errors"},
    "web": {
        "api",
        "restore",
        "batch",
        "isolated",
        "jobs",
        "photo",
        "registry",
        "download",
        "report",
        "errors",
    },
    "video": {"isolated", "photo", "errors"},
    "watch": {"batch", "isolated", "jobs", "journal", "photo", "errors"},
    "api": EVERYTHING,
    "cli": EVERYTHING,
    "__init__": EVERYTHING,
    "__main__": {"cli"},
}
ONLY_USER = {
    "typer": {"cli"},
    "rich": {"console"},
    "PIL": {"photo"},
    "imagecodecs": {"photo"},
    "tifffile": {"photo"},
    "pi_heif": {"photo"},
    "rawpy": {"photo"},
    "pylibjxl": {"photo"},
    "huggingface_hub": {"download"},
    "urllib.request": {"download"},
    "einops": {"model", "stream", "export"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "fsspec": {"storage"},
    "ray": {"cluster"},
    "av": {"video"},
    "watchdog": {"watch"},
    "triton": {"kernels"},
}


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_imports_only_what_its_row_allows(path: Path) -> None:
    module = module_of(path)
    assert module in LAYERS, f"{module} has no row in the table of layers"
    allowed = LAYERS[module]
    imports = imports_of(path)
    ours = {name.split(".")[1] for name in imports if name.startswith("deblur_cli.")} - {
        module,
        "__version__",
    }
    if allowed != EVERYTHING:
        assert ours <= set(allowed), f"{module} may not import {ours - set(allowed)}"
    for library, users in ONLY_USER.items():
        used = any(name == library or name.startswith(f"{library}.") for name in imports)
        assert not used or module in users, f"{module} may not import {library}"


def test_no_module_is_longer_than_350_lines() -> None:
    long = {str(path): count for path in FILES if (count := len(path.read_text().splitlines())) > 350}
    assert not long


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["batch", "--help"]])
def test_answers_that_need_no_network_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from deblur_cli.cli import main\n"
        f"try: main({arguments})\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'numpy', 'PIL', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_importing_the_package_costs_nothing() -> None:
    code = "import sys, deblur_cli; assert 'torch' not in sys.modules; deblur_cli.deblur; assert 'torch' in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
