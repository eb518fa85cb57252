"""What the shells make of <TAB>: each that is installed is run in a terminal, and typed into."""

import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ". ./script"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; . ./script"),
    "fish": (["fish", "--no-config", "-i"], "source ./script"),
}
PATIENCE_S = 30


class Terminal:
    """A shell in a terminal, in a folder of its own, with deblur on its path."""

    def __init__(self, shell: str, folder: Path) -> None:
        import pty

        self.folder = folder
        command, _ = SHELLS[shell]
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.chdir(folder)
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            settings = {"HOME": str(folder), "PATH": path, "TERM": "xterm", "EDITOR": "emacs"}
            os.execvpe(command[0], command, os.environ | settings)  # noqa: S606  its arguments are above

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def wait_for(self, name: str) -> str:
        """The content of a file of that name, as soon as there is any; the screen is read meanwhile."""
        screen, end = "", time.monotonic() + PATIENCE_S
        file = self.folder / name
        while not (file.is_file() and file.read_text()):
            assert time.monotonic() < end, screen
            if select.select([self.terminal], [], [], 0.1)[0]:
                screen += os.read(self.terminal, 4096).decode(errors="replace")
        return file.read_text()

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    if sys.platform == "win32" or not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "holiday.jpg").touch()
    terminal = Terminal(request.param, tmp_path)
    terminal.type(
        f"deblur --show-completion {request.param} > script; {SHELLS[request.param][1]}; echo yes > ready\n"
    )
    terminal.wait_for("ready")
    yield terminal
    terminal.close()


CASES = {
    "deblur down": "deblur download-weights",
    "deblur --wei": "deblur --weights",
    "deblur holiday.jpg --strip": "deblur holiday.jpg --strip-metadata",
    "deblur batch --weights comp": "deblur batch --weights compact",
    "deblur holi": "deblur holiday.jpg",
    "deblur a.jpg --weights holi": "deblur a.jpg --weights holiday.jpg",
}


def test_tab_completes(terminal: Terminal) -> None:
    to_the_beginning, to_the_end = "\x01", "\x05"
    completed = {}
    for number, typed in enumerate(CASES):
        terminal.type(f"{typed}\t{to_the_beginning}echo {to_the_end} > completed{number}\n")
        completed[typed] = terminal.wait_for(f"completed{number}").strip()
    assert completed == CASES
