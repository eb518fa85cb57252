"""An SFTP server: python tests/sftp_server.py FOLDER KEY serves a folder to whoever has the key, which is also its own, and prints its port."""

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko


def told(ask: Callable[..., Any]) -> Callable[..., Any]:
    """What a disk refuses, as SFTP says it."""

    def asked(*arguments: Any) -> Any:  # noqa: ANN401
        try:
            return ask(*arguments)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    return asked


class Door(paramiko.ServerInterface):
    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if key == self._key else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, number: int) -> int:
        return paramiko.OPEN_SUCCEEDED


class Files(paramiko.SFTPServerInterface):
    def __init__(self, server: Door, folder: str) -> None:
        self._folder = folder

    def _path(self, name: str) -> Path:
        return Path(self._folder + self.canonicalize(name))

    @told
    def stat(self, name: str) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes.from_stat(self._path(name).stat(), Path(name).name)

    lstat = stat

    @told
    def list_folder(self, name: str) -> list[paramiko.SFTPAttributes]:
        return [
            paramiko.SFTPAttributes.from_stat(path.stat(), path.name) for path in self._path(name).iterdir()
        ]

    @told
    def open(self, name: str, flags: int, about: paramiko.SFTPAttributes) -> paramiko.SFTPHandle:
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = handle.writefile = os.fdopen(
            os.open(self._path(name), flags, 0o600), "wb" if flags & os.O_WRONLY else "rb"
        )
        return handle

    @told
    def remove(self, name: str) -> int:
        self._path(name).unlink()
        return paramiko.SFTP_OK

    @told
    def posix_rename(self, old: str, new: str) -> int:
        self._path(old).replace(self._path(new))
        return paramiko.SFTP_OK

    @told
    def mkdir(self, name: str, about: paramiko.SFTPAttributes) -> int:
        self._path(name).mkdir()
        return paramiko.SFTP_OK


def main(folder: str, key_file: str) -> None:
    key = paramiko.RSAKey.from_private_key_file(key_file)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        transport = paramiko.Transport(listener.accept()[0])
        transport.add_server_key(key)
        transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files, folder)
        threading.Thread(target=transport.start_server, kwargs={"server": Door(key)}).start()


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()), sys.argv[2])
