"""A hub of one process: the few addresses of the Hugging Face hub that an upload and a download of a model need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_of_the_test"


class Hub(ThreadingHTTPServer):
    """Repositories of models in memory, each a list of commits: {path: contents}."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.messages: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def sha(self, repo: str) -> str:
        return hashlib.sha1(f"{repo}{len(self.repositories[repo])}".encode()).hexdigest()


@contextmanager
def running() -> Iterator[Hub]:
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does; whoever comes without the token may only look, at what is not private."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *arguments: Any) -> None:
        pass

    def answer(self, status: int, data: Any = b"", **headers: str) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self) -> None:
        hub, path = self.server, self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.requests.append(f"{self.command} {path}")
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        may_write = self.headers.get("Authorization") == f"Bearer {TOKEN}" or path.startswith("/lfs/")
        if self.command in ("POST", "PUT") and not may_write:
            return self.answer(401, {"error": "Invalid username or password."})
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
            hub.repositories.setdefault(repo, [{".gitattributes": b"*.safetensors filter=lfs\n"}])
            if asked.get("private") or asked.get("visibility") == "private":
                hub.private.add(repo)
            return self.answer(200, {"url": f"{hub.address}/{repo}", "name": repo})
        if path.startswith("/lfs/"):
            hub.objects[path.removeprefix("/lfs/")] = body
            return self.answer(200)
        repo = next((name for name in hub.repositories if f"/{name}" in path), "")
        if repo in hub.private and not may_write:
            repo = ""
        rest = path.partition(f"/{repo}")[2] if repo else ""
        for pattern, answer in ROUTES.items():
            found = re.fullmatch(pattern, rest)
            if repo and found:
                return answer(self, repo, body, **found.groupdict())
        return self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815

    def preupload(self, repo: str, body: bytes) -> None:
        files = [file["path"] for file in json.loads(body)["files"]]
        modes = {path: "lfs" if path.endswith(".safetensors") else "regular" for path in files}
        self.answer(
            200, {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]}
        )

    def batch(self, repo: str, body: bytes) -> None:
        objects = [
            {**item, "actions": {"upload": {"href": f"{self.server.address}/lfs/{item['oid']}"}}}
            for item in json.loads(body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def commit(self, repo: str, body: bytes) -> None:
        files = dict(self.server.repositories[repo][-1])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.server.messages.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                files[value["path"]] = self.server.objects[value["oid"]]
        self.server.repositories[repo].append(files)
        sha = self.server.sha(repo)
        self.answer(200, {"success": True, "commitOid": sha, "commitUrl": f"{self.server.address}/{repo}/commit/{sha}"})

    def revision(self, repo: str, body: bytes, name: str) -> None:
        if name not in ("main", self.server.sha(repo)):
            return self.answer(404, {"error": f"Invalid rev id: {name}"}, X_Error_Code="RevisionNotFound")
        siblings = [{"rfilename": path} for path in self.server.repositories[repo][-1]]
        return self.answer(200, {"id": repo, "sha": self.server.sha(repo), "siblings": siblings, "tags": []})

    def tree(self, repo: str, body: bytes) -> None:
        files = self.server.repositories[repo][-1].items()
        self.answer(
            200,
            [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files
            ],
        )

    def resolve(self, repo: str, body: bytes, path: str) -> None:
        data = self.server.repositories[repo][-1].get(path)
        if data is None:
            return self.answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
        commit, etag = self.server.sha(repo), f'"{hashlib.sha1(data).hexdigest()}"'
        return self.answer(200, data, X_Repo_Commit=commit, ETag=etag)


ROUTES = {
    r"/preupload/main": Handler.preupload,
    r"\.git/info/lfs/objects/batch": Handler.batch,
    r"/commit/main": Handler.commit,
    r"/revision/(?P<name>[^/]+)": Handler.revision,
    r"/tree/[^/]+": Handler.tree,
    r"/resolve/[^/]+/(?P<path>.+)": Handler.resolve,
}
