"""Downloads from a real server over TLS, which does what servers do to those who download."""

import errno
import hashlib
import os
import shutil
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tls_server import authority, open_server, ranged, send
from ttsw.errors import ResourceExhaustedError
from ttsw.packs import download as module
from ttsw.packs.download import Download, Downloader
from ttsw.packs.https import DownloadError, StalledDownloadError

CONTENT = bytes(range(256)) * 4_000  # 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RANGED, BROKEN = ranged(CONTENT), ranged(CONTENT, 300_000)


def whole(handler):
    """Knows no ranges."""
    send(handler, CONTENT, Content_Length=len(CONTENT))


def status(code, **headers):
    return lambda handler: send(handler, b"no", code, **{"Content_Length": 2} | headers)


@pytest.fixture
def trusting():
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


@pytest.fixture
def server():
    with open_server(RANGED) as server:
        yield server


class Told:
    def __init__(self):
        self.sentences, self.pauses, self.steps = [], [], []


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def puller(tmp_path, trusting, told):
    return Downloader(
        tmp_path / "files",
        progress=lambda done, total: told.steps.append((done, total)),
        tell=told.sentences.append,
        context=trusting,
        stall_s=5.0,
        sleep=told.pauses.append,
    )


@pytest.fixture
def wanted(server):
    return Download(server.url, SHA256, len(CONTENT), "model.onnx")


def part(puller):
    return puller.store / f"{SHA256}.part"


def begin(puller, content=CONTENT[:400_000]):
    puller.store.mkdir()
    part(puller).write_bytes(content)


def refusal(puller, wanted, kind=DownloadError):
    with pytest.raises(kind) as caught:
        puller.pull(wanted)
    return str(caught.value)


def nothing_is_left(puller):
    return not [path for path in puller.store.rglob("*") if path.is_file()]


# --- what comes


@pytest.mark.parametrize("answer", [RANGED, whole])
def test_a_file_comes_whole_and_once(puller, wanted, server, told, answer):
    server.answers = [answer]
    path = puller.pull(wanted)
    assert path == puller.store / SHA256 / "model.onnx"
    assert path.read_bytes() == CONTENT
    assert not part(puller).exists()
    assert told.steps[0] == (0, len(CONTENT))
    assert told.steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told.steps] == sorted(done for done, _ in told.steps)
    assert puller.pull(wanted) == path
    assert server.asked == [None]


def test_a_download_goes_on_where_it_was_left(puller, wanted, server, told):
    begin(puller)
    assert puller.pull(wanted).read_bytes() == CONTENT
    assert server.asked == ["bytes=400000-"]
    assert told.steps[0] == (400_000, len(CONTENT))


@pytest.mark.parametrize(
    "answer",
    [
        whole,
        lambda handler: send(handler, CONTENT[9:], 206, Content_Range=f"bytes 9-{len(CONTENT) - 1}/{len(CONTENT)}"),
        lambda handler: send(handler, CONTENT[9:], 206, Content_Range="lines 1-2/3"),
        status(416, Content_Range=f"bytes */{len(CONTENT)}"),
    ],
)
def test_a_server_that_does_not_go_on_is_asked_for_the_whole(puller, wanted, server, answer):
    begin(puller)
    server.answers = [answer, whole]
    assert puller.pull(wanted).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 9])
def test_what_lies_there_is_checked_before_it_counts(puller, wanted, length):
    begin(puller, b"x" * length)
    if length == len(CONTENT):
        assert "is not the file that the pack describes, and is deleted" in refusal(puller, wanted)
    assert puller.pull(wanted).read_bytes() == CONTENT


def test_a_body_that_tells_no_length_is_read_to_the_size_and_not_further(puller, wanted, server):
    server.answers = [lambda handler: send(handler, CONTENT + b"more")]
    assert puller.pull(wanted).read_bytes() == CONTENT


def test_two_packs_share_a_file_under_two_names(puller, wanted, server):
    first = puller.pull(wanted)
    second = puller.pull(Download(wanted.url, SHA256, len(CONTENT), "voice.onnx"))
    assert second.name == "voice.onnx"
    assert second.samefile(first)
    assert len(server.asked) == 1


def test_a_damaged_file_of_another_size_is_replaced(puller, wanted):
    puller.pull(wanted).write_bytes(b"cut short")
    assert puller.pull(wanted).read_bytes() == CONTENT


# --- what breaks


def test_a_broken_connection_is_taken_up_again(puller, wanted, server, told):
    server.answers = [BROKEN]
    assert puller.pull(wanted).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert told.pauses == [1, 1, 1]
    assert "ended after 300000 of 1024000 bytes; trying again in 1 s" in told.sentences[0]


def test_a_connection_that_breaks_again_and_again_is_given_up_and_can_be_resumed(puller, wanted, server, told):
    server.answers = [BROKEN, ranged(CONTENT, 0)]
    said = refusal(puller, wanted)
    assert said.endswith("; 300 kB of 1.0 MB are there, and calling again goes on from there")
    assert told.pauses == [1, 2, 4, 8]
    server.answers = [RANGED]
    assert puller.pull(wanted).read_bytes() == CONTENT


def test_without_ranges_a_connection_that_breaks_is_given_up_in_the_end(puller, wanted, server, told):
    server.answers = [lambda handler: send(handler, CONTENT[:500_000], Content_Length=len(CONTENT))]
    refusal(puller, wanted)
    assert len(server.asked) == puller.tries


def test_a_busy_server_is_asked_again(puller, wanted, server, told):
    server.answers = [status(503), status(429), RANGED]
    assert puller.pull(wanted).read_bytes() == CONTENT
    assert told.pauses == [1, 2]


def test_a_server_that_stalls_ends_the_download_which_can_be_resumed(puller, wanted, server):
    leave = threading.Event()

    def stall(handler):
        BROKEN(handler)
        leave.wait(20)

    server.answers = [stall]
    said = refusal(Downloader(puller.store, context=puller.context, stall_s=0.3), wanted, StalledDownloadError)
    leave.set()
    assert said == "127.0.0.1 said nothing for 0.3 s; 300 kB of 1.0 MB are there, and calling again goes on from there"
    server.answers = [RANGED]
    assert puller.pull(wanted).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=300000-"


def test_a_server_that_is_not_there_is_said_at_once(puller, told):
    wanted = Download("https://127.0.0.1:1/x", SHA256, len(CONTENT), "x")
    assert refusal(puller, wanted) == "127.0.0.1 cannot be reached: Connection refused; nothing of it is there yet"
    assert not told.pauses
    assert nothing_is_left(puller)


# --- what is refused


def test_another_file_is_deleted_and_both_checksums_named(puller, wanted, server):
    other = bytes(len(CONTENT))
    server.answers = [lambda handler: send(handler, other, Content_Length=len(other))]
    said = refusal(puller, wanted)
    assert SHA256 in said
    assert hashlib.sha256(other).hexdigest() in said
    assert nothing_is_left(puller)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(404), "answered 404 Not Found"),
        (status(403), "403 Forbidden: it isn't given to everyone"),
        (lambda handler: send(handler, b"<html>", Content_Length=6), "has 6 bytes, and 1024000 in the pack's metadata"),
        (status(200, Content_Length=9_999_999), "has 9999999 bytes, and 1024000 in the pack's metadata"),
        (status(204), "answered 204 No Content, which no download begins with"),
        (
            status(302, Location="http://127.0.0.1/model.onnx"),
            "leads to http://127.0.0.1/model.onnx, which is not https",
        ),
        (status(302, Location="file:///etc/passwd"), "answered 302"),
        (status(302, Location="/model.onnx"), "answered 302"),
    ],
)
def test_an_answer_that_is_no_file_is_refused(puller, wanted, server, answer, said):
    server.answers = [answer]
    assert said in refusal(puller, wanted)
    assert nothing_is_left(puller)


def test_a_redirect_within_https_is_followed_with_its_range(puller, wanted, server):
    begin(puller)
    server.answers = [status(302, Location="/elsewhere"), RANGED]
    assert puller.pull(wanted).read_bytes() == CONTENT
    assert server.asked == ["bytes=400000-"] * 2


def test_a_range_of_another_file_is_refused_and_what_is_there_kept(puller, wanted, server):
    begin(puller)
    server.answers = [status(206, Content_Range="bytes 400000-999999999/1000000000")]
    assert "has 1000000000 bytes" in refusal(puller, wanted)
    assert part(puller).stat().st_size == 400_000


def test_plain_http_is_refused(puller):
    assert "is not https" in refusal(puller, Download("http://127.0.0.1/x", SHA256, 1, "x"))


def test_a_server_without_a_known_certificate_is_refused(puller, wanted):
    said = refusal(Downloader(puller.store), wanted)
    assert "127.0.0.1 is not who it says, or its certificate isn't known here" in said
    assert "SSL_CERT_FILE" in said


def test_certificates_may_be_named_in_the_environment(puller, wanted, tmp_path, monkeypatch):
    authority().cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    assert Downloader(puller.store).pull(wanted).read_bytes() == CONTENT


# --- the disk


def test_a_download_that_would_fill_the_disk_is_not_begun(puller, wanted, server, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: usage._replace(free=1_000))
    said = refusal(puller, wanted, ResourceExhaustedError)
    assert said.startswith("model.onnx needs 1.0 MB more, and ")
    assert said.endswith("has 1.0 kB free; nothing was downloaded")
    assert not server.asked
    assert nothing_is_left(puller)


def test_a_disk_that_fills_up_meanwhile_leaves_what_is_there(puller, wanted, monkeypatch):
    write = os.write

    def fill(file, piece):
        room = 500_000 - os.fstat(file).st_size
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, piece[:room])

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", fill)
        said = refusal(puller, wanted, ResourceExhaustedError)
    assert said == "the disk is full; 500 kB of 1.0 MB are there, and calling again goes on from there"
    assert puller.pull(wanted).read_bytes() == CONTENT


def test_a_store_that_cannot_be_written_is_said(puller, wanted):
    puller.store.write_bytes(b"a file")
    assert "cannot be written: File exists" in refusal(puller, wanted)


# --- others


def test_who_wants_the_same_file_waits_for_it(puller, wanted, server, told):
    first_asks, go_on = threading.Event(), threading.Event()

    def slowly(handler):
        first_asks.set()
        assert go_on.wait(10)
        whole(handler)

    server.answers = [slowly]
    waiting = Downloader(
        puller.store, context=puller.context, tell=lambda sentence: (told.sentences.append(sentence), go_on.set())
    )
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Downloader(puller.store, context=puller.context).pull, wanted)
        assert first_asks.wait(10)
        second = pool.submit(waiting.pull, wanted)
        assert first.result(10) == second.result(10)
    assert told.sentences == ["another ttsw is downloading the same file; waiting for it"]
    assert len(server.asked) == 1
    assert not part(puller).exists()


def test_who_waits_goes_on_where_the_other_failed(puller, wanted, server, told):
    waits = threading.Event()

    def fail(handler):
        assert waits.wait(10)
        BROKEN(handler)

    def stop(_seconds):
        raise KeyboardInterrupt

    server.answers = [fail, RANGED]
    waiting = Downloader(puller.store, context=puller.context, tell=lambda _sentence: waits.set())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Downloader(puller.store, context=puller.context, sleep=stop).pull, wanted)
        while not server.asked:
            pass
        second = pool.submit(waiting.pull, wanted)
        assert second.result(10).read_bytes() == CONTENT
        assert isinstance(first.exception(10), KeyboardInterrupt)
    assert server.asked == [None, "bytes=300000-"]
