"""A hub on 127.0.0.1: the HTTP calls that huggingface_hub makes to read a repository, and the faults of real ones.

``/api/models/<id>[/revision/<revision>]`` says which commit a revision is and what files it has;
``/<id>/resolve/<revision>/<file>`` gives a small file, or redirects to where large ones are kept: a second server on
another port under another host name, as a content network is. Both answer ``Range``. Every request is written down.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGE = 2**12  # bytes from which a file is kept on the content network
CERTIFICATE = Path(__file__).with_name("localhost.pem")
"""For TLS: of 127.0.0.1, vouched for by itself, with its key. `openssl req -x509 -newkey ec … -days 36500` made it."""


@dataclass
class Seen:
    """One request, as it came in and as it was answered."""

    where: str  # "hub", "store" or "proxy"
    method: str
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0  # bytes of the body


@dataclass
class Repo:
    """Commits of one repository, and what its branches and tags point to."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    token: str | None = None  # who may see it, for a private one


class Hub:
    """Repositories, their two servers, and what went over the wire.

    Attributes:
        seen: Every request in the order of arrival.
        cut: Breaks of the next downloads from the store: bytes after which the connection is dropped.
        flip: The position of a byte that arrives turned round, in every large file.
        short: Bytes by which large files end early, as if that were all there is.
        down: Answer everything with this status instead.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.seen: list[Seen] = []
        self.cut: list[int] = []
        self.flip: int | None = None
        self.short = 0
        self.down = 0
        self.moved: dict[str, str] = {}  # old id → id
        self.blobs: dict[str, bytes] = {}
        self.on_request: Any = None

    def commit(self, repo: str, files: dict[str, bytes] | Path, branch: str = "main") -> str:
        """Add a commit and point a branch to it; the commit's id."""
        if isinstance(files, Path):
            root = files
            paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
            files = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
        home = self.repos.setdefault(repo, Repo())
        content = json.dumps([(name, hashlib.sha1(data).hexdigest()) for name, data in sorted(files.items())])
        name = hashlib.sha1(f"{len(home.commits)} {content}".encode()).hexdigest()
        home.commits[name] = files
        home.revisions[branch] = name
        return name

    def requests(self, where: str | None = None, method: str | None = None, part: str = "") -> list[Seen]:
        """Those that fit."""
        return [
            one for one in self.seen if where in (None, one.where) and method in (None, one.method) and part in one.path
        ]

    def fetched(self) -> list[str]:
        """The names of the files whose content was sent, in order, each as often as it was."""
        paths = [one.path.partition("?name=")[2] or one.path.partition("?")[0] for one in self.seen if one.sent]
        return [path.rsplit("/", 1)[-1] for path in paths]

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serve; the endpoint's URL."""
        with serving(_hub_handler(self)) as hub_port, serving(_store_handler(self)) as store_port:
            self.store = f"http://localhost:{store_port}"
            yield f"http://127.0.0.1:{hub_port}"


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler], certificate: Path | None = None) -> Iterator[int]:
    """Serve on a free port of the loopback device, over TLS with a certificate; the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The handshake is left to the thread of each connection.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    where = ""

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.handle_one()

    def do_GET(self) -> None:
        self.handle_one()

    def handle_one(self) -> None:
        self.request_seen = Seen(self.where, self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
        self.hub.seen.append(self.request_seen)
        if self.hub.on_request is not None:
            self.hub.on_request(self.request_seen)
        if self.hub.down:
            return self.reply(self.hub.down, b"down")
        self.answer()

    def answer(self) -> None:
        raise NotImplementedError

    def reply(self, status: int, body: bytes = b"", *, stop_after: int | None = None, **headers: str) -> None:
        """Answer whole, or break off after some bytes of the body."""
        self.request_seen.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        part = body if stop_after is None else body[:stop_after]
        self.request_seen.sent = len(part) if status in (200, 206) and "/api/" not in self.path else 0
        with contextlib.suppress(ConnectionError):
            self.wfile.write(part)
            self.wfile.flush()
        if stop_after is not None:
            self.close_connection = True

    def ranged(self, body: bytes, etag: str, stop_after: int | None = None) -> None:
        """Answer with a file, or with its rest if that was asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None:
            return self.reply(200, body, stop_after=stop_after, ETag=f'"{etag}"', Accept_Ranges="bytes")
        start = int(asked[1])
        return self.reply(
            206,
            body[start:],
            stop_after=stop_after,
            ETag=f'"{etag}"',
            Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}",
        )


def _hub_handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        where = "hub"

        def answer(self) -> None:
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
            info = re.fullmatch(r"/api/models/([^/]+(?:/[^/]+)?)(?:/revision/(.+))?", path)
            file = re.fullmatch(r"/([^/]+(?:/[^/]+)?)/resolve/([0-9a-f]{40}|[^/]+)/(.+)", path)
            if info is not None:
                self.model_info(info[1], info[2] or "main")
            elif file is not None:
                self.file(file[1], file[2], file[3])
            else:
                self.reply(404, b"no such call")

        def commit_of(self, repo: str, revision: str) -> tuple[Repo, str] | None:
            """Find repository and commit, or answer why not."""
            if repo in hub.moved:
                self.reply(307, Location=self.path.replace(repo, hub.moved[repo]))
                return None
            home = hub.repos.get(repo)
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if home is None or (home.token is not None and token != home.token):
                if token and home is not None:
                    self.reply(401, X_Error_Message="Invalid credentials in Authorization header")
                else:
                    self.reply(401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
                return None
            name = home.revisions.get(revision, revision)
            if name not in home.commits:
                self.reply(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id: " + revision)
                return None
            return home, name

        def model_info(self, repo: str, revision: str) -> None:
            if (found := self.commit_of(repo, revision)) is None:
                return
            home, name = found
            files = [{"rfilename": file} for file in sorted(home.commits[name])]
            body = {"id": repo, "modelId": repo, "sha": name, "siblings": files, "gated": home.gated, "private": False}
            body |= {"tags": [], "downloads": 0, "likes": 0, "disabled": False}
            self.reply(200, json.dumps(body).encode(), Content_Type="application/json")

        def file(self, repo: str, revision: str, file: str) -> None:
            if (found := self.commit_of(repo, revision)) is None:
                return
            home, name = found
            if home.gated and not self.headers.get("Authorization"):
                return self.reply(401, X_Error_Code="GatedRepo", X_Error_Message="Access to this model is restricted")
            content = home.commits[name].get(file)
            if content is None:
                return self.reply(
                    404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found", X_Repo_Commit=name
                )
            if len(content) < LARGE:
                etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
                return self.reply(200, content, ETag=f'"{etag}"', X_Repo_Commit=name)
            etag = hashlib.sha256(content).hexdigest()
            hub.blobs[etag] = content
            return self.reply(
                302,
                Location=f"{hub.store}/blobs/{etag}?name={file}",
                ETag=f'"{name}"',
                X_Linked_ETag=f'"{etag}"',
                X_Linked_Size=str(len(content)),
                X_Repo_Commit=name,
            )

    Handler.hub = hub
    return Handler


def _store_handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        where = "store"

        def answer(self) -> None:
            etag = urllib.parse.urlsplit(self.path).path.rsplit("/", 1)[1]
            content = hub.blobs[etag]
            if hub.flip is not None:
                content = content[: hub.flip] + bytes([content[hub.flip] ^ 0xFF]) + content[hub.flip + 1 :]
            if hub.short:
                content = content[: -hub.short]
            self.ranged(content, etag, hub.cut.pop(0) if hub.cut and self.command == "GET" else None)

    Handler.hub = hub
    return Handler


@contextlib.contextmanager
def forward_proxy(hub: Hub) -> Iterator[str]:
    """A forward proxy that writes down what goes through it; its URL."""

    class Handler(_Handler):
        where = "proxy"

        def answer(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
            with contextlib.closing(connection):
                target = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
                passed = {k: v for k, v in self.headers.items() if k.lower() not in ("proxy-connection", "connection")}
                connection.request(self.command, target, headers=passed)
                response = connection.getresponse()
                body = response.read()
                headers = {
                    name.replace("-", "_"): value
                    for name, value in response.getheaders()
                    if name.lower() not in ("date", "server", "connection", "content-length")
                }
                if self.command == "HEAD":
                    headers["Content_Length"] = response.getheader("Content-Length") or "0"
                self.reply(response.status, body, **headers)

    Handler.hub = hub
    with serving(Handler) as port:
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def web(files: dict[str, bytes], hub: Hub, certificate: Path | None = None) -> Iterator[str]:
    """A plain web server with some files, by path; it knows tags, Range, and the faults of a `Hub`."""

    class Handler(_Handler):
        where = "web"

        def answer(self) -> None:
            content = files.get(urllib.parse.unquote(urllib.parse.urlsplit(self.path).path.lstrip("/")))
            if content is None:
                return self.reply(404, b"not here")
            etag = hashlib.sha1(content).hexdigest()
            if self.headers.get("If-None-Match") == f'"{etag}"':
                return self.reply(304)
            return self.ranged(content, etag, hub.cut.pop(0) if hub.cut else None)

    Handler.hub = hub
    with serving(Handler, certificate) as port:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
