"""A file server over TLS on this machine, which answers as it is told."""

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

Answer = Callable[["Handler"], object]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: "FileServer"

    def do_GET(self):
        self.server.asked.append(self.headers.get("Range"))
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *_):
        pass


class FileServer(ThreadingHTTPServer):
    """Gives each request the next of its answers, and the last again and again.

    Args:
        answers: Functions that are given the request.
    """

    daemon_threads = True

    def __init__(self, *answers: Answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = list(answers)
        self.asked: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert("127.0.0.1").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.server_port}/model.onnx"

    def handle_error(self, *_):
        """Clients leave when they like."""


@cache
def authority() -> trustme.CA:
    """Who signs the server's certificate."""
    return trustme.CA()


@contextmanager
def open_server(*answers: Answer) -> Iterator[FileServer]:
    """Serve for the length of a block."""
    server = FileServer(*answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))  # noqa: TID251 - the server isn't the worker
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler: Handler, content: bytes, status: int = 200, **headers: object):
    """Answer with these bytes."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(content)


def ranged(content: bytes, most: int | None = None) -> Answer:
    """Answer with a file's bytes from where the client asks, `most` of them before the connection breaks."""

    def answer(handler: Handler):
        given = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(given[1]) if given else 0
        told = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if given else {}
        send(handler, content[start:][:most], 206 if given else 200, Content_Length=len(content) - start, **told)

    return answer
