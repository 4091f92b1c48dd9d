"""A stand-in for a Qdrant server: its REST routes that the project uses, answered by the client's own local mode.

It is no proof of what a server finds. It shows that the client reaches one, with which settings and key, and what becomes of
a server that refuses, fails, loses points or falls silent.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_client import QdrantClient, models


class StandIn(ThreadingHTTPServer):
    """The server; ``client`` holds the points, ``asked`` the bodies of all searches, ``indexed`` the payload fields.

    ``status`` other than 200 is what every request gets; ``most`` cuts every search short; ``key`` is the one it wants.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.client = QdrantClient(":memory:")
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[dict[str, Any]] = []
        self.created: list[dict[str, Any]] = []
        self.indexed: list[str] = []
        self.status, self.most, self.key = 200, 10**9, ""
        self.lock = threading.Lock()

    def answer(self, method: str, parts: list[str], body: dict[str, Any]) -> Any:
        client = self.client
        match method, parts:
            case "GET", ["collections"]:
                return client.get_collections()
            case "GET", ["aliases"]:
                return client.get_aliases()
            case "POST", ["collections", "aliases"]:
                return client.update_collection_aliases(models.ChangeAliasesOperation.model_validate(body).actions)
            case "GET", ["collections", name, "exists"]:
                return {"exists": client.collection_exists(name)}
            case "GET", ["collections", name]:
                return client.get_collection(name)
            case "DELETE", ["collections", name]:
                return client.delete_collection(name)
            case "PUT", ["collections", name]:
                self.created.append(body)
                wanted = models.CreateCollection.model_validate(body)
                return client.create_collection(name, wanted.vectors, metadata=wanted.metadata)
            case "PUT", ["collections", name, "index"]:
                self.indexed.append(body["field_name"])
                return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)
            case "POST", ["collections", name, "points", "count"]:
                return client.count(name)
            case "PUT", ["collections", name, "points"]:
                return client.upsert(name, models.PointsBatch.model_validate(body).batch)
            case "POST", ["collections", name, "points"]:
                wanted = models.PointRequest.model_validate(body)
                return client.retrieve(name, wanted.ids, wanted.with_payload, wanted.with_vector)
            case "POST", ["collections", name, "points", "query", "batch"]:
                found = []
                for one in body["searches"]:
                    self.asked.append(one)
                    wanted = models.QueryRequest.model_validate({key: one[key] for key in one if key != "params"})
                    wanted.limit = min(wanted.limit, self.most)
                    found += client.query_batch_points(name, [wanted])
                return found
        raise AssertionError(f"the project asks for what this stand-in does not know: {method} /{'/'.join(parts)}")


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *_: Any) -> None:
        pass

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        status = self.server.status
        if self.server.key and self.headers.get("api-key") != self.server.key:
            status = 403
        said: Any = {"status": {"error": "as the test wants it"}}
        if status == 200:
            parts = self.path.partition("?")[0].strip("/").split("/")
            with self.server.lock:
                said = {"result": _plain(self.server.answer(self.command, parts, body)), "status": "ok", "time": 0.0}
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _serve


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return json.loads(value.model_dump_json()) if hasattr(value, "model_dump_json") else value


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Run a stand-in until the block ends."""
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        server.client.close()
