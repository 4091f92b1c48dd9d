"""A stand-in for the hub on this machine: the few endpoints that huggingface_hub 2.4 asks when it publishes and loads.

Text is committed as it is, binary files through the LFS endpoints, as the real hub has it. A test may alter what is sent
(`altered`), close a repository (`gated`, `private`), or take the right to write away (`writers`), and see each request in `asked`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import yaml
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from huggingface_hub import close_session, constants
from huggingface_hub.utils import disable_progress_bars

# huggingface_hub sends LFS files in a way that its own HTTP library calls outdated.
MARKS = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NAME, TOKEN = "tester/tiny", "hf_standin"
KINDS = {"models": "model", "datasets": "dataset"}
BINARY = (".npy", ".safetensors", ".png", ".webp", ".jpg")


@dataclass
class Repository:
    """Commits by hash, each a whole tree: path to (bytes, stored as LFS)."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, tuple[bytes, bool]]] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, tuple[bytes, bool]]) -> str:
        listing = sorted((path, hashlib.sha256(data).hexdigest()) for path, (data, _) in tree.items())
        oid = hashlib.sha1(json.dumps([len(self.commits), listing]).encode()).hexdigest()
        self.commits[oid] = tree
        self.branches[branch] = oid
        return oid

    def resolve(self, revision: str) -> str:
        commit = revision if revision in self.commits else self.branches.get(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


class Refusal(HTTPException):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, message, {"X-Error-Code": code, "X-Error-Message": message})


class HubServer:
    """The server; `url` is what HF_ENDPOINT is to be. Use it as a context manager."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.stored: dict[str, bytes] = {}  # LFS content by sha256
        self.altered: dict[str, bytes] = {}  # path -> what is sent instead
        self.asked: list[str] = []
        self.writers = {"tester"}
        self.fail_after: int | None = None  # uploads that are taken before the line breaks
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(_app(self), log_level="error", ws="none", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def tree(self, kind: str, name: str, revision: str = "main") -> dict[str, bytes]:
        """The files of one commit, as a person would find them on the hub."""
        repository = self.repositories[kind, name]
        return {path: data for path, (data, _) in repository.commits[repository.resolve(revision)].items()}


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


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _app(hub: HubServer) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.middleware("http")
    async def noted(request: Request, answer: Callable[[Request], Any]) -> Any:
        hub.asked.append(f"{request.method} {request.url.path}")
        return await answer(request)

    def is_known(request: Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {TOKEN}"

    def found(request: Request, kind: str, name: str) -> Repository:
        repository = hub.repositories.get((KINDS.get(kind, kind), name))
        if repository is None or (repository.private and not is_known(request)):
            raise Refusal(404 if is_known(request) else 401, "RepoNotFound", "Repository not found")
        return repository

    def opened(request: Request, kind: str, name: str) -> Repository:
        repository = found(request, kind, name)
        if repository.gated:
            raise Refusal(403, "GatedRepo", "Access to this repository is restricted")
        return repository

    def may_write(request: Request, name: str) -> None:
        if not is_known(request):
            raise Refusal(401, "", "Invalid username or password.")
        if name.split("/")[0] not in hub.writers:
            raise Refusal(403, "", "You don't have the rights to write in this namespace")

    # Writing

    @app.get("/api/whoami-v2")
    async def whoami(request: Request) -> Any:
        if not is_known(request):
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return {"type": "user", "name": "tester", "orgs": []}

    @app.post("/api/repos/create")
    async def create(request: Request) -> Any:
        asked = await request.json()
        name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        may_write(request, name)
        key = (asked.get("type", "model"), name)
        if key in hub.repositories:
            return JSONResponse({"error": "You already created this repo", "url": f"{hub.url}/{name}"}, 409)
        hub.repositories[key] = Repository(private=asked.get("visibility") == "private")
        hub.repositories[key].commit("main", {".gitattributes": (b"*.npy filter=lfs\n", False)})
        return {"url": f"{hub.url}/{name}", "name": name}

    @app.post("/api/validate-yaml")
    async def validate(request: Request) -> Any:
        front = re.match(r"---\n(.*?)\n---\n", (await request.json())["content"], re.DOTALL)
        if isinstance(front and yaml.safe_load(front[1]), dict):
            return {"errors": [], "warnings": []}
        return JSONResponse({"errors": [{"message": "no metadata"}], "warnings": []}, 400)

    @app.post("/api/{kinds}/{name:path}/preupload/{revision:path}")
    async def preupload(request: Request, kinds: str, name: str, revision: str) -> Any:
        may_write(request, name)
        repository = found(request, kinds, name)
        tree = repository.commits[repository.resolve(revision)]
        answers = []
        for file in (await request.json())["files"]:
            data, lfs = tree.get(file["path"], (None, False))
            oid = None if data is None else hashlib.sha256(data).hexdigest() if lfs else _git_oid(data)
            mode = "lfs" if file["path"].endswith(BINARY) else "regular"
            answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answers}

    @app.post("/{place:path}.git/info/lfs/objects/batch")
    async def batch(request: Request, place: str) -> Any:
        may_write(request, place.removeprefix("datasets/"))
        objects = [{"oid": one["oid"], "size": one["size"]} for one in (await request.json())["objects"]]
        for one in objects:
            if one["oid"] not in hub.stored:
                one["actions"] = {"upload": {"href": f"{hub.url}/store/{one['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    @app.put("/store/{oid}")
    async def store(request: Request, oid: str) -> Any:
        data = await request.body()
        if hub.fail_after is not None and len(hub.stored) >= hub.fail_after:
            raise Refusal(400, "", "the line broke")
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refusal(400, "", "content and name differ")
        hub.stored[oid] = data
        return {}

    @app.post("/api/{kinds}/{name:path}/commit/{branch:path}")
    async def commit(request: Request, kinds: str, name: str, branch: str) -> Any:
        may_write(request, name)
        repository = found(request, kinds, name)
        tree = dict(repository.commits[repository.resolve(branch)])
        for line in (await request.body()).splitlines():
            key, value = (item := json.loads(line))["key"], item["value"]
            if key == "file":
                tree[value["path"]] = (base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                tree[value["path"]] = (hub.stored[value["oid"]], True)
            elif key == "deletedFile":
                del tree[value["path"]]
        oid = repository.commit(branch, tree)
        return {"commitUrl": f"{hub.url}/{name}/commit/{oid}", "commitOid": oid}

    # Reading

    @app.get("/api/{kinds}/{name:path}/tree/{revision}")
    async def tree(request: Request, kinds: str, name: str, revision: str) -> Any:
        repository, entries = opened(request, kinds, name), []
        for path, (data, lfs) in sorted(repository.commits[repository.resolve(revision)].items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _git_oid(data)}
            if lfs:
                entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        return entries

    @app.get("/api/{kinds}/{name:path}")
    @app.get("/api/{kinds}/{name:path}/revision/{revision:path}")  # asked first
    async def info(request: Request, kinds: str, name: str, revision: str = "main") -> Any:
        repository = found(request, kinds, name)
        commit = repository.resolve(revision)
        files = [{"rfilename": path} for path in sorted(repository.commits[commit])]
        return {"_id": "0", "id": name, "sha": commit, "private": repository.private, "siblings": files}

    @app.api_route("/{place:path}/resolve/{revision}/{path:path}", methods=["GET", "HEAD"])
    async def resolve(request: Request, place: str, revision: str, path: str) -> Any:
        kind = "dataset" if place.startswith("datasets/") else "model"
        repository = opened(request, kind, place.removeprefix("datasets/"))
        commit = repository.resolve(revision)
        if path not in repository.commits[commit]:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        data, lfs = repository.commits[commit][path]
        etag = hashlib.sha256(data).hexdigest() if lfs else _git_oid(data)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": commit, "Accept-Ranges": "none"}
        return Response(hub.altered.get(path, data), headers=headers)

    return app
