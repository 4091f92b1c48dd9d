"""A stand-in for the hub on this machine: the few endpoints that huggingface_hub 2.4 asks when it publishes and loads.

Text is committed as it is, binary files through the LFS endpoints, as the real hub has it. A test may alter what is sent
(`altered`), close a repository (`gated`, `private`), or take the right to write away (`writers`), and see each request in `asked`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from huggingface_hub import close_session, constants
from huggingface_hub.utils import disable_progress_bars

TOKEN = "hf_standin"
KINDS = {"models": "model", "datasets": "dataset"}
BINARY = (".npy", ".safetensors", ".png", ".webp", ".jpg")


@dataclass
class Repository:
    """Commits by hash, each a whole tree: path to (bytes, stored as LFS)."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, tuple[bytes, bool]]] = field(default_factory=dict)
    parents: dict[str, str | None] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, tuple[bytes, bool]]) -> str:
        listing = sorted((path, hashlib.sha256(data).hexdigest()) for path, (data, _) in tree.items())
        text = json.dumps([len(self.commits), listing])
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits[oid], self.parents[oid] = tree, self.branches.get(branch)
        self.branches[branch] = oid
        return oid

    def resolve(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.branches.get(revision)


class Refusal(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message or code


class HubServer:
    """The server; `url` is what HF_ENDPOINT is to be. Use it as a context manager."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.stored: dict[str, bytes] = {}  # LFS content by sha256
        self.altered: dict[str, bytes] = {}  # path -> what is sent instead
        self.asked: list[str] = []
        self.writers = {"tester"}
        self.fail_after: int | None = None  # uploads that are taken before the line breaks
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def tree(self, kind: str, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of one commit, as a person would find them on the hub."""
        repository = self.repositories[kind, name]
        commit = repository.resolve(revision)
        assert commit is not None
        return {path: data for path, (data, _) in repository.commits[commit].items()}


def point_to(url: str, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Make huggingface_hub take ``url`` for the hub and ``cache`` for its cache; what it read of them at import is replaced."""
    close_session()
    disable_progress_bars()
    patch.setattr(constants, "ENDPOINT", url)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    patch.setenv("HF_TOKEN", TOKEN)


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body go in two writes; the second would wait for the first

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        hub = self.server_hub
        path = unquote(urlsplit(self.path).path)
        self.body = self._read_body()
        hub.asked.append(f"{self.command} {path}")
        try:
            for pattern, method in ROUTES:
                if match := re.fullmatch(pattern, f"{self.command} {path}"):
                    method(self, *match.groups())
                    return
            raise Refusal(404, "", f"the stand-in has no {path}")
        except Refusal as refusal:
            headers = {"X-Error-Code": refusal.code} if refusal.code else {}
            self._send({"error": refusal.message}, refusal.status, {**headers, "X-Error-Message": refusal.message})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while length := int(self.rfile.readline().strip(), 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    # Who asks, and for which repository

    def _logged_in(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _writer(self, name: str) -> None:
        if not self._logged_in():
            raise Refusal(401, "", "Invalid username or password.")
        if name.split("/")[0] not in self.server_hub.writers:
            raise Refusal(403, "", "You don't have the rights to write in this namespace")

    def _repository(self, kind: str, name: str) -> Repository:
        repository = self.server_hub.repositories.get((kind, name))
        if repository is None or (repository.private and not self._logged_in()):
            raise Refusal(404 if self._logged_in() else 401, "RepoNotFound", "Repository not found")
        return repository

    def _commit_of(self, repository: Repository, revision: str) -> str:
        commit = repository.resolve(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    # Reading

    def info(self, kinds: str, name: str, revision: str | None) -> None:
        repository = self._repository(KINDS[kinds], name)
        commit = self._commit_of(repository, revision or "main")
        files = [{"rfilename": path} for path in sorted(repository.commits[commit])]
        self._send({"_id": "0", "id": name, "sha": commit, "private": repository.private, "siblings": files})

    def tree(self, kinds: str, name: str, revision: str) -> None:
        repository = self._repository(KINDS[kinds], name)
        if repository.gated:
            raise Refusal(403, "GatedRepo", "Access to this repository is restricted")
        entries = []
        for path, (data, lfs) in sorted(repository.commits[self._commit_of(repository, revision)].items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}
            if lfs:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        self._send(entries)

    def resolve(self, kinds: str | None, name: str, revision: str, path: str) -> None:
        repository = self._repository("dataset" if kinds else "model", name)
        commit = self._commit_of(repository, revision)
        if repository.gated:
            raise Refusal(403, "GatedRepo", "Access to this repository is restricted")
        if path not in repository.commits[commit]:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        data, lfs = repository.commits[commit][path]
        etag = hashlib.sha256(data).hexdigest() if lfs else _git_oid(data)
        data = self.server_hub.altered.get(path, data)
        self._send(data, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "none"})

    # Writing

    def whoami(self) -> None:
        if not self._logged_in():
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        self._send({"type": "user", "name": "tester", "orgs": []})

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        self._writer(name)
        key = (asked.get("type", "model"), name)
        if key in self.server_hub.repositories:
            self._send({"error": "You already created this repo", "url": f"{self.server_hub.url}/{name}"}, 409)
            return
        repository = self.server_hub.repositories[key] = Repository(private=asked.get("visibility") == "private")
        repository.commit("main", {".gitattributes": (b"*.npy filter=lfs\n", False)})
        self._send({"url": f"{self.server_hub.url}/{name}", "name": name})

    def branch(self, kinds: str, name: str, branch: str) -> None:
        self._writer(name)
        repository = self._repository(KINDS[kinds], name)
        if branch in repository.branches:
            raise Refusal(409, "", "Reference already exists")
        repository.branches[branch] = repository.branches["main"]
        self._send({})

    def validate(self) -> None:
        asked = json.loads(self.body)
        front = re.match(r"---\n(.*?)\n---\n", asked["content"], re.DOTALL)
        try:
            metadata = yaml.safe_load(front[1]) if front else None
            error = None if isinstance(metadata, dict) else "no metadata"
        except yaml.YAMLError as problem:
            error = str(problem)
        self._send({"errors": [{"message": error}] if error else [], "warnings": []}, 400 if error else 200)

    def preupload(self, kinds: str, name: str, revision: str) -> None:
        self._writer(name)
        repository = self._repository(KINDS[kinds], name)
        tree = repository.commits[self._commit_of(repository, revision)]
        answers = []
        for file in json.loads(self.body)["files"]:
            data, lfs = tree.get(file["path"], (None, False))
            oid = None if data is None else hashlib.sha256(data).hexdigest() if lfs else _git_oid(data)
            mode = "lfs" if file["path"].endswith(BINARY) else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._send({"files": answers})

    def batch(self, kinds: str | None, name: str) -> None:
        self._writer(name)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.server_hub.stored:
                entry["actions"] = {"upload": {"href": f"{self.server_hub.url}/store/{wanted['oid']}"}}
            objects.append(entry)
        self._send({"transfer": "basic", "objects": objects})

    def store(self, oid: str) -> None:
        hub = self.server_hub
        if hub.fail_after is not None and len(hub.stored) >= hub.fail_after:
            raise Refusal(400, "", "the line broke")
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, "", "content and name differ")
        hub.stored[oid] = self.body
        self._send({})

    def commit(self, kinds: str, name: str, branch: str) -> None:
        self._writer(name)
        repository = self._repository(KINDS[kinds], name)
        tree = dict(repository.commits[self._commit_of(repository, branch)])
        for line in self.body.splitlines():
            key, value = (item := json.loads(line))["key"], item["value"]
            if key == "file":
                tree[value["path"]] = (base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                tree[value["path"]] = (self.server_hub.stored[value["oid"]], True)
            elif key == "deletedFile":
                del tree[value["path"]]
        oid = repository.commit(branch, tree)
        self._send({"commitUrl": f"{self.server_hub.url}/{name}/commit/{oid}", "commitOid": oid})


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


ROUTES = [
    (r"GET /api/whoami-v2", _Handler.whoami),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate),
    (r"POST /api/(models|datasets)/([^/]+/[^/]+)/branch/(.+)", _Handler.branch),
    (r"POST /api/(models|datasets)/([^/]+/[^/]+)/preupload/(.+)", _Handler.preupload),
    (r"POST /api/(models|datasets)/([^/]+/[^/]+)/commit/(.+)", _Handler.commit),
    (r"POST /(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /store/([0-9a-f]{64})", _Handler.store),
    (r"GET /api/(models|datasets)/([^/]+/[^/]+)/tree/([^/]+)", _Handler.tree),
    (r"GET /api/(models|datasets)/([^/]+/[^/]+)(?:/revision/(.+))?", _Handler.info),
    (r"(?:GET|HEAD) /(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _Handler.resolve),
]
