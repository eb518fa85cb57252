"""The wheel's build hook: compiled loops where there is a compiler; without one, a wheel for any system that does the same in torch."""

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface[Any]):
    """Compiles the loops of src/deblur_cli/kernels before the files of a wheel are gathered."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """version: standard or editable."""
        script = Path(self.root) / "src/deblur_cli/kernels/build.py"
        if runpy.run_path(str(script))["build"]():
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"  # loaded by ctypes, whatever Python it is
