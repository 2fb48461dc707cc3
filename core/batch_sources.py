"""Where batches fetch recordings: URLs and folders that the settings allow, and nothing of the network behind them.

Whoever may name a URL could otherwise have this machine read what only it can reach (server-side request forgery): the
address is looked up once, judged, and connected to; a redirect is not followed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import fsspec

from core.config import Settings
from core.errors import SourceError, SourceNotAllowedError, UploadTooLargeError
from core.features.containers import SUFFIXES
from core.webhooks.address_guard import is_allowed, networks_of

TIMEOUT_S = 15.0
"""To connect, and for each part of the answer."""
_STAYS = "%/?:@!$&'()*+,;=~[]"
"""Characters of a path and its query that mean something there; others are written as octets."""

Resolve = Callable[[str, int], list[str]]
"""Network addresses of a host and port."""


class Found(NamedTuple):
    """One recording where somebody said that recordings are."""

    location: str
    name: str
    """Its path inside the folder that was named."""


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class BatchSources:
    """What the settings allow to be fetched."""

    def __init__(self, settings: Settings, *, resolve: Resolve = _resolve, tls: ssl.SSLContext | None = None) -> None:
        self._allowed = [each.strip() for each in settings.batch_sources.split(",") if each.strip()]
        self._private = {each.strip().lower() for each in settings.batch_private_hosts.split(",") if each.strip()}
        self._networks = networks_of(settings.allowed_networks)
        self._max_mb = settings.max_upload_mb
        self._resolve = resolve
        self._tls = tls

    @property
    def allowed(self) -> tuple[str, ...]:
        """Beginnings of URLs and folders; empty where nothing is allowed."""
        return tuple(self._allowed)

    def require_allowed(self, location: str) -> None:
        """Raise SourceNotAllowedError unless the settings allow `location`."""
        if any(_is_within(location, place) for place in self._allowed):
            return
        raise SourceNotAllowedError(
            _shown(location), f"allowed are {', '.join(self._allowed)}" if self._allowed else ""
        )

    def expand(self, location: str) -> Iterator[Found]:
        """`location` itself, or the recordings in it where it is a folder, by name.

        Raises
        ------
        SourceNotAllowedError
            The settings do not allow it.
        SourceError
            It cannot be looked into.
        """
        self.require_allowed(location)
        if _scheme(location) in ("http", "https"):
            yield Found(location, location.partition("?")[0].rstrip("/").rpartition("/")[2])
            return
        try:
            files, path = fsspec.core.url_to_fs(location)
            if not files.isdir(path):
                yield Found(location, Path(path).name)
                return
            found = sorted(files.find(path))
        except (OSError, ValueError, ImportError) as error:
            raise SourceError(_shown(location), str(error).rstrip(".")) from error
        for each in found:
            if Path(each).suffix.lower() in SUFFIXES:
                name = each.removeprefix(path).lstrip("/")
                inside = f"{location.rstrip('/')}/{name}" if _scheme(location) else each
                self.require_allowed(inside)
                yield Found(inside, name)

    def read(self, location: str) -> bytes:
        """The bytes at `location`, no more than one recording may have.

        Raises
        ------
        SourceNotAllowedError
            The settings do not allow it, or its host has a private address.
        SourceError
            It cannot be fetched.
        UploadTooLargeError
            It is larger than recordings may be.
        """
        self.require_allowed(location)
        if _scheme(location) in ("http", "https"):
            return self._get(location)
        try:
            with fsspec.open(location, "rb") as file:
                return self._bounded(file.read(int(self._max_mb * 1e6) + 1))
        except (OSError, ValueError, ImportError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise SourceError(_shown(location), reason.rstrip(".").lower() or type(error).__name__) from error

    def _bounded(self, data: bytes) -> bytes:
        if len(data) > self._max_mb * 1e6:
            raise UploadTooLargeError(len(data), self._max_mb)
        return data

    def _get(self, url: str) -> bytes:
        shown = _shown(url)
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise SourceError(shown, f"it is no address ({error})") from error
        if parts.scheme != "https" and host not in self._private:
            raise SourceNotAllowedError(shown, "only https is fetched")
        address = self._judged_address(host, port, shown)
        context = (self._tls or ssl.create_default_context()) if parts.scheme == "https" else None
        connection = _PinnedConnection(host, port, address=address, tls=context)
        target = quote(f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", safe=_STAYS)
        try:
            connection.request("GET", target, headers={"User-Agent": "Telepathy", "Accept": "*/*"})
            answer = connection.getresponse()
            if 300 <= answer.status < 400:
                raise SourceError(shown, f"it answered {answer.status}, and redirects are not followed")
            if answer.status != 200:
                raise SourceError(shown, f"it answered {answer.status}")
            return self._bounded(answer.read(int(self._max_mb * 1e6) + 1))
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(shown, f"it cannot be reached ({type(error).__name__})") from error
        finally:
            connection.close()

    def _judged_address(self, host: str, port: int, shown: str) -> str:
        """The one address that is going to be connected to. All that the host has must be public."""
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise SourceError(shown, "its host is not known") from error
        if not addresses:
            raise SourceError(shown, "its host is not known")
        if host not in self._private and not all(
            is_allowed(address, allowed_networks=self._networks) for address in addresses
        ):
            raise SourceNotAllowedError(shown, "its host has a private address")
        return addresses[0]


class _PinnedConnection(http.client.HTTPConnection):
    """A connection to the address that was judged, whatever the name means by now."""

    def __init__(self, host: str, port: int, *, address: str, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=TIMEOUT_S)
        self._address, self._tls = address, tls

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), TIMEOUT_S)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)


def _scheme(location: str) -> str:
    scheme, separator, _ = location.partition("://")
    return scheme.lower() if separator else ""


def _is_within(location: str, place: str) -> bool:
    """Whether `location` lies in `place`: on its host and below its path, or in its folder once links are followed."""
    if _scheme(location) in ("", "file") and _scheme(place) in ("", "file") and not place.endswith(":"):
        inside, folder = (Path(each.removeprefix("file://")).resolve() for each in (location, place))
        return inside.is_relative_to(folder)
    if place == f"{_scheme(location)}:":
        return True
    if not _scheme(place) or ".." in location.split("/"):
        return False
    try:
        inside_parts, place_parts = urlsplit(location), urlsplit(place)
    except ValueError:
        return False
    same_host = (inside_parts.scheme, inside_parts.netloc.lower()) == (place_parts.scheme, place_parts.netloc.lower())
    path = place_parts.path.rstrip("/") + "/"
    return same_host and f"{inside_parts.path}/".startswith(path)


def _shown(location: str) -> str:
    """`location` without what may be a secret: user, password and query."""
    if not _scheme(location):
        return location[:300]
    try:
        parts = urlsplit(location)
    except ValueError:
        return "that URL"
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"[:300]
