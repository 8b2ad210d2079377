"""Requesting a file's bytes over https, from the start or from the middle, with the standard library only.

It decides what a response means: success, a broken connection (a retry may help), or failure. `ttsw.packs.download`
decides about retries. Proxies and certificates are those that `urllib` and `ssl` take from the environment.
"""

import errno
import re
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException, HTTPResponse
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from ttsw.errors import UnavailableError
from ttsw.version import __version__

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOCKED = frozenset({401, 403})
_AWAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)


class DownloadError(UnavailableError):
    """A file could not be downloaded; the message says why, and what helps."""


class BrokenDownloadError(DownloadError):
    """The connection broke, or the server is busy: a retry may help."""


class HostUnreachableError(BrokenDownloadError):
    """The host could not be reached."""


class StalledDownloadError(DownloadError):
    """The server sent nothing for too long."""


class _HttpsOnly(HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 - urllib's own
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise DownloadError(
                f"{req.full_url} leads to {newurl}, which is not https; nothing was downloaded from there"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]  # typeshed's own


@contextmanager
def open_at(
    url: str, start: int, size: int, *, context: ssl.SSLContext | None, stall_s: float
) -> Generator[tuple[int, Callable[[int], bytes]], None, None]:
    """Request a file's bytes from `start` on.

    Args:
        url: Its address.
        start: The first byte.
        size: Expected size of the whole file, bytes.
        context: TLS context; None is Python's default.
        stall_s: Longest silence of the server, seconds.

    Yields:
        The offset of the response, `start` or 0, and a function that reads up to a number of bytes, none at the end.

    Raises:
        DownloadError: The server refuses, or has a different file; its subclasses tell when a retry may help.
    """
    if urlsplit(url).scheme != "https":
        raise DownloadError(f"{url} is not https; nothing was downloaded")
    opener = build_opener(HTTPSHandler(context=context or ssl.create_default_context()), _HttpsOnly())
    response, begins = _ask(opener, url, start, size, stall_s)

    def read(most: int) -> bytes:
        try:
            return response.read1(most)
        except (OSError, HTTPException) as error:
            raise _explain(error, url, stall_s) from error

    with response:
        yield begins, read


def _ask(opener: OpenerDirector, url: str, start: int, size: int, stall_s: float) -> tuple[HTTPResponse, int]:
    request = Request(url, headers={"User-Agent": f"ttsw/{__version__}", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response: HTTPResponse = opener.open(request, timeout=stall_s)
    except HTTPError as error:
        with error:
            if error.code == 416 and start:  # the partial file isn't the beginning of the server's file
                return _ask(opener, url, 0, size, stall_s)
            raise _refusal(error, url) from error
    except URLError as error:
        raise _explain(error.reason, url, stall_s) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _explain(error, url, stall_s) from error
    begins, whole = _extent(response)
    if whole in {size, None} and begins in {0, start}:
        return response, begins
    response.close()
    if whole not in {size, None}:
        raise DownloadError(
            f"{url} has {whole} bytes, and {size} in the pack's metadata: it is another version, or not the file"
        )
    if start:
        return _ask(opener, url, 0, size, stall_s)
    raise DownloadError(f"{url} answered {response.status} {response.reason}, which no download begins with")


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Return a response's offset, -1 if unknown, and the whole file's size, None if unknown."""
    if response.status == 206:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        return (int(said[1]), None if said[2] == "*" else int(said[2])) if said else (-1, None)
    return (0, response.length) if response.status == 200 else (-1, None)


def _refusal(error: HTTPError, url: str) -> DownloadError:
    said = f"{url} answered {error.code} {error.reason}"
    if error.code in _PASSING:
        return BrokenDownloadError(said)
    if error.code in _LOCKED:
        return DownloadError(f"{said}: it isn't given to everyone; its source may want its licence accepted first")
    return DownloadError(said)


def _explain(error: BaseException | str, url: str, stall_s: float) -> DownloadError:
    """Translate a failure below HTTP into a message."""
    host = urlsplit(url).hostname
    if isinstance(error, TimeoutError):
        return StalledDownloadError(f"{host} said nothing for {stall_s:g} s")
    if isinstance(error, ssl.SSLCertVerificationError):
        return DownloadError(
            f"{host} is not who it says, or its certificate isn't known here: {error.verify_message}; "
            f"SSL_CERT_FILE names the certificates that are believed"
        )
    if isinstance(error, socket.gaierror | ConnectionRefusedError) or getattr(error, "errno", None) in _AWAY:
        return HostUnreachableError(f"{host} cannot be reached: {getattr(error, 'strerror', error)}")
    if isinstance(error, OSError | HTTPException):
        return BrokenDownloadError(f"the connection to {host} broke: {error or type(error).__name__}")
    return DownloadError(f"{url} cannot be asked: {error}")
