"""As much of the Hugging Face Hub as its client needs, on 127.0.0.1: what is in a repository, and its files."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    """files: of each branch or tag. licence: of the model card. closed: 401 as for what is private, or 403 for files whose terms were not accepted.

    tells: what is changed in the answer about the repository. exchanged: files whose bytes are not those that it tells of.
    """

    files: dict[str, dict[str, bytes]]
    licence: str | None = "mit"
    closed: int = 0
    tells: dict[str, Any] = field(default_factory=dict)
    exchanged: dict[str, bytes] = field(default_factory=dict)

    def commit(self, revision: str) -> str:
        """The hash of what is in a revision, as git has one."""
        told = sorted(
            (name, hashlib.sha1(data, usedforsecurity=False).hexdigest())
            for name, data in self.files[revision].items()
        )
        return hashlib.sha1(repr(told).encode(), usedforsecurity=False).hexdigest()

    def branch(self, revision: str) -> str | None:
        """The branch that a revision means, by its name or by its commit."""
        return next((name for name in self.files if revision in (name, self.commit(name))), None)


class HubServer:
    """Serves repositories by name. requests: (method, path) of each."""

    def __init__(self, **repositories: Repository) -> None:
        self.repositories = {name.replace("__", "/"): found for name, found in repositories.items()}
        self.requests: list[tuple[str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self.address = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.requests.append((self.command, self.path))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        model = parts[:2] == ["api", "models"]
        name, rest = ("/".join(parts[2:4]), parts[4:]) if model else ("/".join(parts[:2]), parts[2:])
        repository = self.hub.repositories.get(name)
        if repository is None or repository.closed == 401:
            self.refuse(401, "RepoNotFound", "Invalid username or password.")
            return
        revision = "/".join(rest[1:]) if model else rest[1]
        branch = repository.branch(revision or "main")
        if branch is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif model:
            self.tell(repository, branch)
        elif repository.closed:
            self.refuse(403, "GatedRepo", "Access to this model is restricted.")
        else:
            self.serve(repository, branch, "/".join(rest[2:]))

    def tell(self, repository: Repository, branch: str) -> None:
        files = repository.files[branch]
        answer = {
            "id": "some/model",
            "sha": repository.commit(branch),
            "cardData": {"license": repository.licence} if repository.licence else None,
            "siblings": [
                {"rfilename": name, "size": len(data), "blobId": "0" * 40} for name, data in files.items()
            ],
        }
        self.answer(200, json.dumps(answer | repository.tells).encode(), {"Content-Type": "application/json"})

    def serve(self, repository: Repository, branch: str, file: str) -> None:
        data = repository.files[branch].get(file)
        if data is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        large = file.endswith((".safetensors", ".pth", ".bin"))  # which are in Git LFS
        etag = (
            hashlib.sha256(data).hexdigest()
            if large
            else hashlib.sha1(data, usedforsecurity=False).hexdigest()
        )
        told = {"X-Repo-Commit": repository.commit(branch), "ETag": f'"{etag}"'}
        self.answer(200, repository.exchanged.get(file, data), told)

    def refuse(self, status: int, code: str, message: str) -> None:
        self.answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
