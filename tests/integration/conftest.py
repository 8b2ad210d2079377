"""Workers to talk to, shared where a test leaves no trace, and their logs beside a test that fails."""

from contextlib import contextmanager

import pytest

from tests.integration.support import Client, Worker

_LOGS = pytest.StashKey[list]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for log in item.session.stash.get(_LOGS, []):
            if log.is_file():
                report.sections.append((f"end of {log.name}", log.read_text(errors="replace")[-6_000:]))
    return report


@contextmanager
def starting(request, folder):
    """Give what starts workers; whatever still runs in the end is told to stop, and must do so in order."""
    workers: list[Worker] = []
    logs = request.session.stash.setdefault(_LOGS, [])

    def start(*arguments: str, ready: bool = True, **environment: object) -> Worker:
        """Start one on the mock voice; `environment` is TTSW_… by lower-case names: `worker__grpc_port=0`."""
        variables = {f"TTSW_{name.upper()}": str(value) for name, value in environment.items()}
        log = folder / f"worker-{len(logs)}.log"
        logs.append(log)
        worker = Worker(log, *(arguments or ("--adapter", "mock")), environment=variables, ready=False)
        workers.append(worker)
        if ready:
            worker.wait_ready()
        return worker

    yield start
    running = [worker for worker in workers if worker.process.poll() is None]
    try:
        assert [worker.stop() for worker in running] == [0] * len(running)
    finally:
        for worker in workers:
            worker.kill()


@pytest.fixture(scope="module")
def start_worker(request, tmp_path_factory):
    """Start workers, which end with the module."""
    with starting(request, tmp_path_factory.mktemp("workers")) as start:
        yield start


@pytest.fixture(scope="package")
def start_shared(request, tmp_path_factory):
    """Start workers that many modules talk to."""
    with starting(request, tmp_path_factory.mktemp("shared-workers")) as start:
        yield start


@pytest.fixture(scope="package")
def worker(start_shared):
    """A worker on the mock voice."""
    return start_shared(worker__capabilities__max_concurrent_sessions=64)


@pytest.fixture(scope="package")
def piper_worker(start_shared):
    """A worker on a real voice."""
    pytest.importorskip("piper", reason="the voice comes with the extra `piper`, which is not installed")
    return start_shared("--adapter", "piper")


@pytest.fixture
def connect(request):
    """Connect to a worker."""

    def open_client(to: Worker) -> Client:
        client = Client(to.address)
        request.addfinalizer(client.close)
        return client

    return open_client


@pytest.fixture
def client(connect, worker):
    """A client of the worker on the mock voice."""
    return connect(worker)


@pytest.fixture
def piper(connect, piper_worker):
    """A client of the worker on a real voice."""
    return connect(piper_worker)
