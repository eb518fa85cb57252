"""SFTP as ssh does it: only to servers that are known. fsspec itself would take the word of any."""

import paramiko
from fsspec import register_implementation
from fsspec.implementations.sftp import SFTPFileSystem

from deblur_cli.errors import UsageError


class KnownServers(SFTPFileSystem):  # type: ignore[misc]  # fsspec tells no types
    """Keys come from the agent and from ~/.ssh, known servers from known_hosts."""

    def _connect(self) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys()
        try:
            self.client.connect(self.host, **self.ssh_kwargs)
        except paramiko.AuthenticationException as error:
            raise PermissionError from error
        except paramiko.SSHException as error:
            if isinstance(error, paramiko.BadHostKeyException) or "known_hosts" in str(error):
                raise UsageError(
                    f"sftp://{self.host}: the server is not the one that known_hosts tells of, or not in it",
                    hint=f"If you trust it: ssh {self.host}, once, which asks.",
                ) from error
            raise
        self.ftp = self.client.open_sftp()


def register() -> None:
    """Let fsspec open sftp:// this way."""
    for protocol in KnownServers.protocol:
        register_implementation(protocol, KnownServers, clobber=True)
