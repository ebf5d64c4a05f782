"""Address: a checkpoint's file on any web server, and what lies beside it there.

There is no list of what a server has, so files are asked for by name. What was fetched is kept with the tag that its
server gave it, and fetched again only if that has changed. No token is ever sent: they belong to the hub.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from vision2seq.errors import CheckpointNotFoundError, DownloadError, NotCachedError, OptionError
from vision2seq.hub.repository import why_offline
from vision2seq.hub.source import Options, Source

_ATTEMPTS = 5
_TIMEOUT = 20.0  # seconds without a byte
_BLOCK = 2**20
_NOTE = ".origin"


class Address(Source):
    """The folder that a URL's file is in.

    Args:
        url: Of one file, http or https.
        options: ``proxies``, ``cache_dir``, ``force_download`` and ``local_files_only`` count.

    Raises:
        OptionError: The URL names no file, or a revision or subfolder is given, which it says itself.
    """

    def __init__(self, url: str, options: Options) -> None:
        parts = urllib.parse.urlsplit(url)
        home, _, quoted = parts.path.rpartition("/")
        file = urllib.parse.unquote(quoted)
        if not parts.hostname or not file or "/" in file or "\\" in file or file in (".", ".."):
            raise OptionError(
                f"{url} names no file; expected the URL of one, such as https://example.org/model.safetensors."
            )
        if options.revision or options.subfolder:
            raise OptionError(f"revision= and subfolder= are for names on the hub; {url} says itself where it is.")
        from huggingface_hub import cached_assets_path

        self._url = url
        self._home = urllib.parse.urlunsplit((parts.scheme, parts.netloc, f"{home}/", "", ""))
        self._why_offline = why_offline(options)
        self._fetched: dict[str, Path | None] = {}
        folder = cached_assets_path(
            library_name="vision2seq",
            namespace="urls",
            subfolder=hashlib.sha256(self._home.encode()).hexdigest()[:32],
            assets_dir=None if options.cache_dir is None else Path(options.cache_dir),
        )
        super().__init__(url, folder, file, options)

    def names(self) -> list[str]:
        """What was fetched so far; servers do not tell what else they have."""
        return [name for name in super().names() if not name.endswith(_NOTE) and not name.startswith(".")]

    def where(self) -> str:
        """What to call it in a message."""
        return self._home

    def named(self) -> Path:
        """Fetch the file that the URL names."""
        assert self.file is not None
        found = self.get(self.file)
        if found is None:
            raise CheckpointNotFoundError(f"There is no {self._url}: its server does not know it. Check the URL.")
        return found

    def get(self, name: str) -> Path | None:
        """The path of a fetched file of the same folder; None if the server has none of that name.

        Raises:
            NotCachedError: It was not fetched before, and no server may be asked.
            DownloadError: It could not be fetched whole, or not be kept.
        """
        if name not in self._fetched:
            self._fetched[name] = self._current(name)
        return self._fetched[name]

    def _current(self, name: str) -> Path | None:
        path = self.folder / name
        url = self._url if name == self.file else urllib.parse.urljoin(self._home, urllib.parse.quote(name))
        if not url.startswith(self._home):
            return None
        if self._why_offline:
            if path.is_file():
                return path
            if name != self.file:
                return None
            raise NotCachedError(
                f"{url} was not fetched before, and no server was asked because {self._why_offline}. Load it once with "
                "a connection."
            )
        try:
            return _Download(url, path, self.options).run()
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                return None
            reason = f"HTTP {error.code} {error.reason}"
            refused = error.code < 500
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", None) or error)
            refused = getattr(error, "errno", None) is not None and not isinstance(error, ConnectionError)
        if refused or not path.is_file():
            raise DownloadError(
                f"{url} could not be fetched ({reason}). Check the URL, the connection and {self.folder}."
            )
        warnings.warn(
            f"{url} could not be fetched ({reason}); the copy of last time is used.", UserWarning, stacklevel=4
        )
        return path


class _Download:
    """One file on its way: taken up again where it was cut, and put under its name when it is whole."""

    def __init__(self, url: str, path: Path, options: Options) -> None:
        self.url = url
        self.path = path
        self.note = path.with_name(path.name + _NOTE)
        handlers = [urllib.request.ProxyHandler(dict(options.proxies))] if options.proxies else []
        self.opener = urllib.request.build_opener(*handlers)
        self.known = "" if options.force_download or not path.is_file() else self._noted()

    def _noted(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(self.note.read_text(encoding="utf-8")).get("etag", ""))
        return ""

    def _open(self, **headers: str) -> Any:
        request = urllib.request.Request(self.url, headers={"Accept-Encoding": "identity", "User-Agent": "vision2seq"})
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        return self.opener.open(request, timeout=_TIMEOUT)

    def run(self) -> Path:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            response = self._open(**({"If_None_Match": self.known} if self.known else {}))
        except urllib.error.HTTPError as error:
            if error.code == 304:
                return self.path
            raise
        tag = response.headers.get("ETag") or ""
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                self._receive(response, tag, file)
            os.replace(temporary, self.path)
            self.note.write_text(json.dumps({"url": self.url, "etag": tag}), encoding="utf-8")
        finally:
            Path(temporary).unlink(missing_ok=True)
        return self.path

    def _receive(self, response: Any, tag: str, file: BinaryIO) -> None:
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdigit() else None
        for attempt in range(_ATTEMPTS):
            with contextlib.closing(response):
                ended = _copy(response, file)
            if ended and total in (None, file.tell()):
                return
            if attempt + 1 < _ATTEMPTS:
                again = {"Range": f"bytes={file.tell()}-"} | ({"If_Range": tag} if tag else {})
                response = self._open(**again)
                if response.status != 206:  # from the start: the server cannot do otherwise, or the file has changed
                    file.seek(0)
                    file.truncate()
        raise DownloadError(
            f"{self.url} ends after {file.tell()} bytes of {total or 'an unknown number'}, {_ATTEMPTS} times over. Try "
            "again later, or fetch it by hand."
        )


def _copy(response: Any, file: BinaryIO) -> bool:
    """Write what comes to a file; False if the connection broke."""
    try:
        while block := response.read(_BLOCK):
            file.write(block)
    except (ConnectionError, TimeoutError, http.client.IncompleteRead):
        return False
    return True
