"""As much of a model hub as huggingface_hub asks for, on loopback: repositories, uploads by LFS, commits and files.

Requests and answers are those of huggingface_hub 2.4 (``hf_api.py``, ``_commit_api.py``, ``lfs.py``,
``file_download.py``), without the Xet protocol, which HF_HUB_DISABLE_XET turns off.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_planted_token"
LARGE = (".parquet", ".safetensors")  # what a new repository's .gitattributes gives to LFS


@dataclass
class Repo:
    """A repository: its commits, newest last, each with all files."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def commit(self, files: dict[str, bytes]) -> str:
        number = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits.append((number, files))
        return number

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((commit for commit in self.commits if commit[0] == revision), None)


class ModelHub(http.server.ThreadingHTTPServer):
    """The hub.

    Attributes:
        repos: by OWNER/REPOSITORY.
        asked: method and path of every request.
        tampered: contents that are served instead of a file's, by path.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.tampered: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def create(self, name: str, files: dict[str, bytes] | None = None, *, private: bool = False) -> Repo:
        """A repository as a hub makes it, with these files besides."""
        self.repos[name] = Repo(private)
        self.repos[name].commit({".gitattributes": b"*.parquet filter=lfs\n", **(files or {})})
        return self.repos[name]


class Answers(http.server.BaseHTTPRequestHandler):
    server: ModelHub
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        with self.server.lock:
            self.server.asked.append(f"{self.command} {path}")
            for method, pattern, answer in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and self.command in method:
                    answer(self, *match.groups())
                    return
            self.reply(404, {"error": f"no route {self.command} {path}"})

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815  (the base class's names)

    # --- repositories --------------------------------------------------------------------------------------------

    def info(self, name: str) -> None:
        repo = self.seen(name)
        if repo is None:
            return
        siblings = [{"rfilename": path} for path in sorted(repo.files)]
        self.reply(200, {"id": name, "sha": repo.commits[-1][0], "private": repo.private, "siblings": siblings})

    def create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self.has_token:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif name in self.server.repos:
            self.refuse(409, "", "You already created this model repo")
        else:
            self.server.create(name, private=asked["visibility"] == "private")
            self.reply(200, {"url": f"{self.server.url}/{name}"})

    def validate(self) -> None:
        self.reply(200, {"warnings": [], "errors": []})

    # --- uploads ---------------------------------------------------------------------------------------------------

    def preupload(self, name: str) -> None:
        files = [
            {
                "path": each["path"],
                "uploadMode": "lfs" if each["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
                "oid": self.oid(name, each["path"]),
            }
            for each in json.loads(self.body)["files"]
        ]
        self.reply(200, {"files": files})

    def oid(self, name: str, path: str) -> str | None:
        content = self.server.repos[name].files.get(path)
        if content is None:
            return None
        if path.endswith(LARGE):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()

    def batch(self, name: str) -> None:
        objects = []
        for each in json.loads(self.body)["objects"]:
            answer = {"oid": each["oid"], "size": each["size"]}
            if each["oid"] not in self.server.large:
                answer["actions"] = {"upload": {"href": f"{self.server.url}/large/{each['oid']}"}}
            objects.append(answer)
        self.reply(200, {"transfer": "basic", "objects": objects})

    def put(self, oid: str) -> None:
        assert hashlib.sha256(self.body).hexdigest() == oid
        self.server.large[oid] = self.body
        self.reply(200, {})

    def commit(self, name: str) -> None:
        repo = self.server.repos[name]
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if not self.has_token:
            return self.refuse(403, "", "you have no write access to this repository")
        if header.get("parentCommit") not in (None, repo.commits[-1][0]):
            return self.refuse(412, "", "A commit has happened since. Please refresh and try again.")
        files = dict(repo.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        number = repo.commit(files)
        return self.reply(200, {"commitUrl": f"{self.server.url}/{name}/commit/{number}", "commitOid": number})

    # --- files -----------------------------------------------------------------------------------------------------

    def resolve(self, name: str, revision: str, path: str) -> None:
        repo = self.seen(name)
        if repo is None:
            return
        found = repo.at(revision)
        if found is None:
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
        elif path not in found[1]:
            self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": found[0]})
        else:
            content = self.server.tampered.get(path, found[1][path])
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": found[0]}
            self.send(200, content, "application/octet-stream", headers)

    # --- answers ---------------------------------------------------------------------------------------------------

    @property
    def has_token(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {TOKEN}"

    def seen(self, name: str) -> Repo | None:
        """A repository that this request may see; else the answer is sent, which tells nothing of private ones."""
        repo = self.server.repos.get(name)
        if repo is not None and (self.has_token or not repo.private):
            return repo
        self.refuse(404 if self.has_token else 401, "RepoNotFound", "Repository not found")
        return None

    def refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        more = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self.send(status, json.dumps({"error": message}).encode(), "application/json", more)

    def reply(self, status: int, document: Any) -> None:
        self.send(status, json.dumps(document).encode(), "application/json", {})

    def send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


_NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    (("GET",), f"/api/models/{_NAME}(?:/revision/main)?", Answers.info),
    (("POST",), "/api/repos/create", Answers.create),
    (("POST",), "/api/validate-yaml", Answers.validate),
    (("POST",), f"/api/models/{_NAME}/preupload/main", Answers.preupload),
    (("POST",), rf"/{_NAME}\.git/info/lfs/objects/batch", Answers.batch),
    (("PUT",), "/large/([0-9a-f]{64})", Answers.put),
    (("POST",), f"/api/models/{_NAME}/commit/main", Answers.commit),
    (("GET", "HEAD"), f"/{_NAME}/resolve/([^/]+)/(.+)", Answers.resolve),
)


@contextmanager
def model_hub() -> Iterator[ModelHub]:
    """Serve a hub without repositories, in a thread."""
    server = ModelHub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
