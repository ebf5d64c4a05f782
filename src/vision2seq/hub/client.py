"""How huggingface_hub talks to a server while this package uses it: through given proxies, and with no word too many.

Both are settings of the process there, so they are made for the time of a call and taken back after it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_LOCK = threading.RLock()
_silent = 0
_spoken = False


@contextlib.contextmanager
def talking(proxies: Mapping[str, str] | None) -> Iterator[None]:
    """Make the calls inside go through proxies, if there are any, and send nothing but what they need.

    Args:
        proxies: Scheme (or ``scheme://host``) to URL. They win over those of the environment. While they are in use,
            other threads that pass some wait.
    """
    with _silence(), _through(dict(proxies)) if proxies else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Turn telemetry off: huggingface_hub 2 else asks its server which programs to report."""
    from huggingface_hub import constants

    global _silent, _spoken
    with _LOCK:
        if _silent == 0:
            _spoken = constants.HF_HUB_DISABLE_TELEMETRY
        _silent += 1
        constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        with _LOCK:
            _silent -= 1
            if _silent == 0:
                constants.HF_HUB_DISABLE_TELEMETRY = _spoken


@contextlib.contextmanager
def _through(proxies: dict[str, str]) -> Iterator[None]:
    http: Any = importlib.import_module("huggingface_hub.utils._http")
    set_factory: Callable[[Any], None]
    if hasattr(http, "set_client_factory"):
        set_factory, before, make = http.set_client_factory, http._GLOBAL_CLIENT_FACTORY, _client
    else:  # before 1.0, on requests
        set_factory, before, make = http.configure_http_backend, http._GLOBAL_BACKEND_FACTORY, _session
    constants: Any = importlib.import_module("huggingface_hub.constants")
    with _LOCK:
        set_factory(functools.partial(make, before, proxies))
        # The other way to download, Xet, is a program of its own that goes past the client.
        without_xet = getattr(constants, "HF_HUB_DISABLE_XET", False)
        constants.HF_HUB_DISABLE_XET = True
        try:
            yield
        finally:
            constants.HF_HUB_DISABLE_XET = without_xet
            set_factory(before)


def _client(before: Callable[[], Any], proxies: dict[str, str]) -> Any:
    """A client of httpx as it was, with proxies."""
    plain = before()
    httpx: Any = importlib.import_module(type(plain).__module__.partition(".")[0])
    trusted = httpx.create_ssl_context()
    mounts = {
        scheme if "://" in scheme else f"{scheme}://": httpx.HTTPTransport(proxy=url, verify=trusted)
        for scheme, url in proxies.items()
    }
    client = httpx.Client(
        mounts=mounts,
        trust_env=False,  # or NO_PROXY would win
        verify=trusted,
        event_hooks=plain.event_hooks,
        follow_redirects=plain.follow_redirects,
        timeout=plain.timeout,
    )
    plain.close()
    return client


def _session(before: Callable[[], Any], proxies: dict[str, str]) -> Any:
    """A session of requests as it was, with proxies."""
    session = before()
    for adapter in session.adapters.values():

        def send(*args: Any, _send: Callable[..., Any] = adapter.send, **kwargs: Any) -> Any:
            return _send(*args, **{**kwargs, "proxies": proxies})

        adapter.send = send
    return session
