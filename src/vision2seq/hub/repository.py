"""Repository: a checkpoint on the hub, downloaded file by file into the cache that all tools on huggingface_hub share.

A branch or tag is resolved to a commit once, when the repository is looked up. Every file is from that commit, whatever
happens to the branch meanwhile, and lies in the folder that the cache keeps for it. That costs one request; files that
are in the cache cost none.

Without a connection, the commit that the branch last pointed to is taken from the cache.

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache (the layout of the cache).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import os
import re
import tempfile
import warnings
from pathlib import Path, PurePosixPath
from typing import Any

from vision2seq.errors import (
    AccessDeniedError,
    CheckpointNotFoundError,
    DownloadError,
    NotCachedError,
    OptionError,
    Vision2SeqError,
    nearest,
)
from vision2seq.hub.client import talking
from vision2seq.hub.source import Options, Source

_ID = re.compile(r"(?:[A-Za-z0-9_][\w.-]*/)?[A-Za-z0-9_][\w.-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ATTEMPTS = 3
"""How often a download is taken up again where it was cut, on top of what huggingface_hub does itself."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def is_id(name: str) -> bool:
    """Whether a name could be that of a repository: ``user/name``, or a bare ``name`` of the early days."""
    return (
        _ID.fullmatch(name) is not None and len(name) <= 96 and "--" not in name and ".." not in name
    ) and not name.endswith((".git", "-", "."))


class Repository(Source):
    """The files of one commit of a repository.

    Args:
        repo: Its id.
        options: Where to look, which revision, and how.
        file: The one file that the caller named.
        name: What the caller wrote, if not the id.
        hint: A sentence for the message if there is no such repository.

    Raises:
        CheckpointNotFoundError: No such repository or revision; AccessDeniedError if it may not be seen;
            NotCachedError if no server may be, or could be, asked and the cache has nothing of it.
    """

    def __init__(
        self, repo: str, options: Options, file: str | None = None, *, name: str | None = None, hint: str = ""
    ) -> None:
        from huggingface_hub import constants

        self.repo = repo
        self.revision = options.revision or "main"
        self.subfolder = options.subfolder.strip("/")
        if ".." in PurePosixPath(self.subfolder).parts:
            raise OptionError(f"subfolder={options.subfolder!r} leads out of the repository; expected one inside it.")
        self._endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT
        self._hint = hint
        cache = options.cache_dir if options.cache_dir is not None else constants.HF_HUB_CACHE
        self._home = Path(cache).expanduser().absolute() / f"models--{repo.replace('/', '--')}"
        self._fetched: set[str] = set()
        self._listed: frozenset[str] | None = None  # what there is on the server; None: only the cache can be asked
        self._why_offline = why_offline(options)
        super().__init__(name or repo, self._home, file, options)
        self.commit: str = self._resolve()  # type: ignore[misc]
        self._snapshot = self._home / "snapshots" / self.commit
        self.folder = self._snapshot / self.subfolder

    # ------------------------------------------------------------------------------------------------- the commit

    def _resolve(self) -> str:
        """Find the commit that the revision means, and what files it has."""
        if not _is_revision(self.revision):
            raise self._no_revision()
        if self._why_offline:
            if self.options.force_download:
                raise OptionError(f"force_download=True asks for a download, but {self._why_offline}; choose one.")
            return self._cached_commit(None)
        from huggingface_hub import HfApi, constants

        try:
            with talking(self.options.proxies):
                info = HfApi(endpoint=self._endpoint, library_name="vision2seq").model_info(
                    self.repo,
                    revision=self.revision,
                    timeout=constants.HF_HUB_ETAG_TIMEOUT,
                    token=self.options.token,
                )
        except Exception as error:
            explained = self._explained(error, None)
            # What the cache has is used unless the server says for sure that there is no such thing.
            if self.options.force_download or isinstance(error, _errors().RevisionNotFoundError):
                raise explained from error
            return self._cached_commit(explained, error)
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise DownloadError(
                f"{self._endpoint} says that {self.revision!r} of {self.repo!r} is the commit {info.sha!r}; expected "
                "40 hexadecimal digits. Check HF_ENDPOINT: this is no server of the hub."
            )
        self._listed = frozenset(entry.rfilename for entry in info.siblings or ())
        return info.sha

    def _cached_commit(self, failure: Vision2SeqError | None, cause: Exception | None = None) -> str:
        """The commit that the revision meant when it was last looked up; ``failure`` is why it is not looked up now."""
        commit = self.revision if _COMMIT.fullmatch(self.revision) else self._read_reference()
        if commit is None or not (self._home / "snapshots" / commit).is_dir():
            if failure is not None:
                raise failure from cause
            raise NotCachedError(
                f"{self.repo!r} at revision {self.revision!r} is not in the cache {self._home.parent}, and no server "
                f"was asked because {self._why_offline}. Load it once with a connection, or pass the cache_dir that "
                f"has it.{self._hint}"
            )
        if failure is not None:
            self._why_offline = "the server could not tell what there is"
            warnings.warn(
                f"{self._endpoint} could not be asked about {self.repo!r} ({_reason(cause)}). The files in the cache "
                f"are used, of commit {commit}.",
                UserWarning,
                stacklevel=6,
            )
        return commit

    def _read_reference(self) -> str | None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = (self._home / "refs" / self.revision).read_text(encoding="ascii").strip()
            return text if _COMMIT.fullmatch(text) else None
        return None

    def _remember(self) -> None:
        """Note in the cache what the revision means now, for the next time without a connection."""
        if _COMMIT.fullmatch(self.revision) or self._read_reference() == self.commit:
            return
        reference = self._home / "refs" / self.revision
        with contextlib.suppress(OSError):  # a cache that cannot be written to can be read all the same
            reference.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=reference.parent)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(self.commit)
            os.replace(temporary, reference)

    # -------------------------------------------------------------------------------------------------- the files

    def names(self) -> list[str]:
        """The names beside each other in the repository, or in the cache if no server could be asked."""
        if self._listed is None:
            return super().names()
        prefix = f"{self.subfolder}/" if self.subfolder else ""
        inside = [name.removeprefix(prefix) for name in self._listed if name.startswith(prefix)]
        return sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in inside})

    def where(self) -> str:
        """What to call it in a message."""
        text = f"{self.repo!r} on {self._endpoint} at commit {self.commit}"
        if self.subfolder:
            text += f", subfolder {self.subfolder!r}"
        if self._listed is None:
            text += f", of which only the cached files were looked at because {self._why_offline}"
        return text

    def for_others(self) -> tuple[str, dict[str, Any]]:
        """The id, with the commit that it was resolved to."""
        if self.file is not None:
            return super().for_others()
        arguments = self.options.as_arguments() | {"revision": self.commit}
        return self.repo, {name: value for name, value in arguments.items() if name != "code_revision"}

    def named(self) -> Path:
        """Fetch the file that was named."""
        if self.file is None:
            return self.folder
        found = self.get(self.file)
        if found is None:
            raise CheckpointNotFoundError(
                f"{self.where()} has no file {self.file!r}.{nearest(self.file, self.names())} Files there: "
                f"{', '.join(self.names()[:30]) or 'none'}."
            )
        return found

    def get(self, name: str) -> Path | None:
        """The path of a file in the cache, downloaded if it is not there yet; None if the commit has none.

        Raises:
            AccessDeniedError: It may not be fetched, because the repository is gated or private.
            DownloadError: It could not be fetched, written, or is not what was announced.
        """
        full = f"{self.subfolder}/{name}" if self.subfolder else name
        if ".." in PurePosixPath(full).parts or full.startswith("/") or "\\" in full:
            return None
        path = self._snapshot / full
        if self._listed is None:
            return path if path.is_file() else None
        if full not in self._listed:
            return None
        if full not in self._fetched and (self.options.force_download or not path.is_file()):
            self._download(full, path)
        self._fetched.add(full)
        self._remember()
        return path

    def _download(self, full: str, path: Path) -> None:
        from huggingface_hub import hf_hub_download

        for attempt in range(_ATTEMPTS):
            try:
                with talking(self.options.proxies):
                    hf_hub_download(
                        self.repo,
                        full,
                        revision=self.commit,
                        cache_dir=self._home.parent,
                        force_download=self.options.force_download and not attempt,
                        token=self.options.token,
                        endpoint=self._endpoint,
                        library_name="vision2seq",
                    )
                break
            except Exception as error:
                if not _was_cut(error) or attempt + 1 == _ATTEMPTS:
                    raise self._explained(error, full) from error
        self._verify(full, path)

    def _verify(self, full: str, path: Path) -> None:
        """Compare a new file with its name in the cache, which is its hash, so that damage is found at once."""
        blob = path.resolve()
        if len(blob.name) == 64:
            digest = hashlib.sha256()
        elif len(blob.name) == 40:  # a file that git keeps itself
            digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size)
        else:
            return
        with blob.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
        if digest.hexdigest() != blob.name:
            blob.unlink()
            if path.is_symlink():
                path.unlink()
            raise DownloadError(
                f"{full} of {self.repo!r} was damaged on its way: its hash is {digest.hexdigest()}, expected "
                f"{blob.name}. It was taken out of the cache again. Load it once more; if that does not help, look for "
                "a proxy that changes files."
            )

    # ------------------------------------------------------------------------------------------------- the reasons

    def _no_revision(self) -> CheckpointNotFoundError:
        return CheckpointNotFoundError(
            f"{self.revision!r} is not a valid git identifier (branch name, tag name or commit id) that exists for "
            f"{self.repo!r}. Look at {self._endpoint}/{self.repo} for those that do."
        )

    def _explained(self, error: Exception, full: str | None) -> Vision2SeqError:
        """The error of ours that says what became of a request for a file, or for the repository itself."""
        utils = _errors()
        what = f"{full} of {self.repo!r}" if full else repr(self.repo)
        status = getattr(getattr(error, "response", None), "status_code", None)
        number = getattr(error, "errno", None)
        if isinstance(error, utils.GatedRepoError):
            return AccessDeniedError(
                f"{what} is gated: {self._endpoint}/{self.repo} asks for its terms to be accepted first. Accept them "
                "there, then log in with `hf auth login`, or pass token=…"
            )
        if isinstance(error, utils.RepositoryNotFoundError):
            return AccessDeniedError(
                f"{self.name} is not a local folder and is not a valid model identifier listed on "
                f"'{self._endpoint}/models'. If it is a private repository, pass a token that may read it with "
                f"token=…, or log in with `hf auth login`.{self._hint}"
            )
        if isinstance(error, utils.RevisionNotFoundError):
            return self._no_revision()
        if isinstance(error, utils.EntryNotFoundError) and not isinstance(error, utils.LocalEntryNotFoundError):
            return CheckpointNotFoundError(f"{self.where()} does not appear to have a file named {full}.")
        if status in (401, 403):
            return AccessDeniedError(
                f"{self._endpoint} refused access to {what} (HTTP {status}): the token is wrong, has expired or lacks "
                "the right to read it. Pass another with token=…, or token=False for none."
            )
        if number in _FULL:
            return DownloadError(
                f"{what} does not fit into the cache {self._home.parent}: {os.strerror(number)}. Make room there, or "
                "pass a cache_dir on another disk."
            )
        if number in _READ_ONLY:
            return DownloadError(
                f"{what} cannot be written to the cache {self._home.parent}: {os.strerror(number)}. Pass a cache_dir "
                "that can be written to, or load it where it can and use local_files_only=True here."
            )
        if _is_from_the_network(error):
            if full is None:
                return NotCachedError(
                    f"{self.name!r} is not a local folder; we couldn't connect to '{self._endpoint}' to look it up "
                    f"({_reason(error)}), and couldn't find it in the cached files at {self._home.parent}. Check the "
                    f"name, the connection and HF_ENDPOINT.{self._hint}"
                )
            return DownloadError(f"{what} could not be downloaded from {self._endpoint} ({_reason(error)}). Try again.")
        first = str(error).strip().split("\n")[0]
        return DownloadError(f"{what} could not be fetched from {self._endpoint}: {first} Try again.")


def _errors() -> Any:
    """Where huggingface_hub has its exceptions in all releases."""
    return importlib.import_module("huggingface_hub.utils")


def why_offline(options: Options) -> str:
    """Why no server is to be asked; empty if one may be."""
    from huggingface_hub import constants

    if options.local_files_only:
        return "local_files_only=True was passed"
    if getattr(constants, "is_offline_mode", lambda: constants.HF_HUB_OFFLINE)():
        return "HF_HUB_OFFLINE is set"
    return ""


def _is_revision(text: str) -> bool:
    """Whether git could have something of that name: what it cannot have is no part of a path or URL either."""
    return re.fullmatch(r"[^\s\\^:?*\[~/]+(/[^\s\\^:?*\[~/]+)*", text) is not None and ".." not in text


def _is_from_the_network(error: BaseException) -> bool:
    """Whether an exception is about a connection, or about a server that is not well."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return bool(status >= 500 or status in (408, 429))
    package = type(error).__module__.partition(".")[0]
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if package in ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2"):
        return True
    # huggingface_hub says "not in the cache" when it could not connect, and keeps the reason.
    return error.__cause__ is not None and package == "huggingface_hub" and _is_from_the_network(error.__cause__)


def _reason(error: BaseException | None) -> str:
    """Why a server could not be asked, in a few words."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP {status}" if status else f"{type(error).__name__}: {error}".split("\n")[0]


def _was_cut(error: Exception) -> bool:
    """Whether a download ended in the middle, so that it can go on from there.

    What huggingface_hub itself raises comes before a download, and after attempts of its own.
    """
    return _is_from_the_network(error) and type(error).__module__.partition(".")[0] != "huggingface_hub"
