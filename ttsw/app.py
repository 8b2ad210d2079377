"""Composition root: a configuration becomes one nursery tree, which stops from the inside out.

run
└ infrastructure   signals, metrics, registration             last to stop
  └ models         loads; the loaded models
    └ sessions     one task a session, one an utterance
      └ intake     the gRPC listener, one task a call         first to stop
"""

import errno
import gc
import os
import signal
import socket
import ssl
import sys
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import trio

from ttsw.adapters.hosts.launch import DIE_S
from ttsw.adapters.hosts.thread import CLOSE_S
from ttsw.concurrency.supervise import supervise
from ttsw.concurrency.task_tree import render_tree
from ttsw.config import Config, WorkerConfig
from ttsw.device import find_devices
from ttsw.errors import ConfigError, TtswError, UnavailableError
from ttsw.fronts.abi.health import HealthBoard, HealthServicer
from ttsw.fronts.abi.reflection import ReflectionServicer
from ttsw.fronts.abi.servicer import TTSServicer
from ttsw.grpc_trio import Server, Settings, serve
from ttsw.models.device_monitor import search_devices
from ttsw.models.manager import STOP_S
from ttsw.registry.record import grpc_addr
from ttsw.registry.registrar import Registrar
from ttsw.simulation.source import SimulatedSource
from ttsw.system.addresses import is_loopback, join_address
from ttsw.system.memory_keeper import keep_memory_low
from ttsw.telemetry.open_tracer import open_tracer
from ttsw.telemetry.service import serve_metrics
from ttsw.worker import Worker

if TYPE_CHECKING:
    from grpclib._typing import IServable

UNREAD_BYTES = 2 * 1024 * 1024
"""Input that the calls of one connection may hold unread, bytes: 20 of the longest English texts."""

log = structlog.get_logger(__name__)

OPEN = "everyone who reaches this port can speak, and load and unload models; there is no login"
ALONE = "only this machine reaches this address: --host 0.0.0.0 listens on all, worker.advertise_addr says another"
GOODBYE_S = 5.0
"""Longest wait for calls to end after their sessions have ended, seconds."""

STOPPING_S = GOODBYE_S + STOP_S + CLOSE_S + DIE_S + 5.0
"""Longest shutdown after the drain, seconds: calls, then models, the last of which starts to unload after `STOP_S`,
then processes that failed to close; plus a margin.
"""


async def run(
    config: Config,
    *,
    simulation: SimulatedSource | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return. `started` carries the address, `grpc://HOST:PORT`.

    Args:
        config: The configuration.
        simulation: Replaces this machine's devices and models; None uses the real ones.
        task_status: Receives the address.

    Raises:
        ConfigError: The configuration can't be satisfied here.
        TtswError: The worker can't start: a model is missing, or the port is in use.
    """
    start, stop = trio.CancelScope(), trio.Event()
    async with open_tracer(config.tracing, config.worker.name) as tracer, trio.open_nursery() as infrastructure:
        devices = await search_devices(find_devices) if simulation is None else None
        worker = Worker(config, tracer=tracer, simulation=simulation, devices=devices)
        rpc = Services(worker)
        await infrastructure.start(watch_signals, start, stop)
        url = await infrastructure.start(serve_metrics, config.metrics, worker.metrics, worker.look)
        if url is not None:
            log.info("metrics", url=f"{url}/metrics")
        infrastructure.start_soon(keep_memory_low)
        async with trio.open_nursery() as models:
            await models.start(worker.run_models)
            async with trio.open_nursery() as sessions:
                await sessions.start(worker.sessions.run)
                async with trio.open_nursery() as intake:
                    with start:
                        server = await listen(config.worker, rpc.all, intake)
                        await register(worker, server, infrastructure)
                        await worker.preload()
                        rpc.board.set_all(True)
                        settle_interpreter()
                        task_status.started(f"grpc://{join_address(*server.addresses[0][:2])}")
                        await stop.wait()
                    infrastructure.start_soon(last_resort, config.worker.drain_timeout_s)
                    rpc.board.set_all(False)
                    await worker.drain()
                    rpc.close()
                    server.drain()
                    intake.cancel_scope.deadline = trio.current_time() + GOODBYE_S
                sessions.cancel_scope.cancel(reason="drained")
            models.cancel_scope.cancel(reason="drained")
        infrastructure.cancel_scope.cancel(reason="drained")


def settle_interpreter() -> None:
    """Keep the interpreter's own pauses below a frame's jitter, once all permanent objects are loaded.

    A full garbage collection of everything imported takes 50 ms and more, so those objects are frozen. Collecting a
    thousand calls in flight takes 25 ms, so this happens a tenth as often as by default. The switch interval is
    shortened, since an engine's Python thread may block the event loop for one interval, 5 ms by default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)
    sys.setswitchinterval(0.0005)


class Services:
    """The services of the gRPC port: the worker's, health and reflection.

    Args:
        worker: The worker.
    """

    def __init__(self, worker: Worker) -> None:
        self.board = HealthBoard(["tts.TTSService"])
        tts = TTSServicer(worker)
        self._health = HealthServicer(self.board)
        self._reflection = ReflectionServicer([tts, self._health])
        self.all: tuple[IServable, ...] = (tts, self._health, self._reflection)

    def close(self) -> None:
        """End the calls that would otherwise never end."""
        self._health.close()
        self._reflection.close()


async def listen(config: WorkerConfig, services: Collection["IServable"], intake: trio.Nursery) -> Server:
    """Start the gRPC listener in `intake`.

    Raises:
        ConfigError: The certificate can't be used.
        UnavailableError: The address can't be bound.
    """
    try:
        server: Server = await intake.start(
            lambda task_status: serve(
                services,
                host=config.grpc_host,
                port=config.grpc_port,
                ssl_context=tls_context(config.tls_cert, config.tls_key),
                settings=Settings(max_message_bytes=config.max_message_bytes, max_unread_bytes=UNREAD_BYTES),
                task_status=task_status,
            ),
            name="gRPC listener",
        )
    except OSError as error:
        raise UnavailableError(_deaf(config, error)) from error
    if not is_loopback(config.grpc_host):
        log.warning("open to the network", host=config.grpc_host, port=server.addresses[0][1], what=OPEN)
    return server


def _deaf(config: WorkerConfig, error: OSError) -> str:
    where = join_address(config.grpc_host, config.grpc_port)
    if error.errno == errno.EADDRINUSE:
        return (
            f"cannot listen on {where}: another program does, perhaps another worker; end that one, or choose another "
            "port with --port (0 takes a free one)"
        )
    return f"cannot listen on {where}: {error}"


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return the server's TLS context; None without a certificate.

    Raises:
        ConfigError: The files aren't a matching certificate and key.
    """
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"worker.tls_cert {cert}, worker.tls_key {key}: not a usable pair: {error}") from error
    return context


async def register(worker: Worker, server: Server, infrastructure: trio.Nursery) -> None:
    """Register the worker in Redis, if configured, and keep it registered from `infrastructure`.

    Raises:
        ConfigError: The URL isn't valid.
        AlreadyExistsError: Another worker has this name.
    """
    config = worker.config
    if config.redis.url is None:
        return
    host, port = config.worker.grpc_host, server.addresses[0][1]
    addr = grpc_addr(config.worker.advertise_addr, host, port, socket.gethostname())
    if config.worker.advertise_addr is None and is_loopback(host):
        log.warning("registered for this machine only", addr=addr, what=ALONE)
    registrar = Registrar(config.redis, partial(worker.describe, addr), takeover=config.redis.takeover)
    worker.changed = registrar.notify
    await infrastructure.start(keep_registered, registrar)


async def keep_registered(
    registrar: Registrar, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Keep the worker registered. Startup errors propagate; later failures are retried.

    Raises:
        TtswError: It can't be registered as configured.
    """
    try:
        await registrar.run(task_status=task_status)
    except TtswError:
        raise
    except Exception:
        log.exception("service failed; restarting", service="registrar")
        await supervise("registrar", registrar.run)


async def watch_signals(
    start: trio.CancelScope, stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Handle signals: the first SIGTERM or SIGINT drains, a later SIGINT exits at once, SIGUSR1 logs the task tree."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGUSR1:
                log.info("task tree", tree=render_tree().splitlines())
            elif not stop.is_set():
                log.info("stopping", signal=signal.Signals(number).name)
                stop.set()
                start.cancel(reason="stopped while starting")
            elif number == signal.SIGINT:
                log.warning("second SIGINT; exiting at once")
                os._exit(130)


async def last_resort(drain_timeout_s: float) -> None:
    """Exit, and log the task tree, if shutdown takes longer than the sum of its deadlines."""
    await trio.sleep(drain_timeout_s + STOPPING_S)
    log.critical("shutdown timed out; exiting", tree=render_tree().splitlines())
    os._exit(70)
