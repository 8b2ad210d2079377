"""`ttsw serve`: logs on stderr, and on stdout one line once it serves."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
import typer

from ttsw.app import run
from ttsw.cli.configure import configure, warn_of_environment
from ttsw.cli.serve.profile_choice import announce_none, choose_profile, read_named, refuse_mismatch
from ttsw.cli.ui.console import write_text
from ttsw.config import Config
from ttsw.errors import NotFoundError
from ttsw.profiles.schema import Profile
from ttsw.simulation.source import SimulatedSource
from ttsw.system.logs import configure_logging


def serve(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")] = None,
    adapter: Annotated[str | None, typer.Option(help="Engine family of the default voice.")] = None,
    default_model: Annotated[str | None, typer.Option(help="Default model of sessions.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 admits everyone who reaches the port.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 chooses a free one.")] = None,
    gpu: Annotated[
        list[int] | None, typer.Option(help="CUDA number of a GPU for models; repeatable. By default all.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Profile to run by: a name (ttsw profiles list), a file, or auto."),
    ] = None,
    strict_profile: Annotated[
        bool, typer.Option("--strict-profile", help="Refuse to start if the profile does not match this machine.")
    ] = False,
    simulate: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="Simulate the device and models of this profile; they speak a tone."),
    ] = None,
    simulate_noise: Annotated[
        float, typer.Option(min=0, max=0.9, hidden=True, help="Random variation of each simulated delay, as a share.")
    ] = 0.0,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Take over the name of a registered live worker.")
    ] = False,
    log_format: Annotated[str | None, typer.Option(help="json or console.")] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then let running speech finish and exit."""
    flags: dict[str, object] = {
        "worker.grpc_host": host,
        "worker.grpc_port": port,
        "worker.profile": profile,
        "worker.strict_profile": strict_profile or None,
        "logging.format": log_format,
        "model_manager.gpus": gpu or None,
        "redis.takeover": takeover or None,
    }
    simulation = None if simulate is None else SimulatedSource(read_named(simulate), simulate_noise)
    settings = configure(config, adapter, default_model, None, **flags)
    if simulation is not None:
        default_model = simulated_default(simulation.profile, settings, default_model)
        settings = configure(config, None, default_model, None, **flags)
    chosen = None
    if settings.worker.profile is not None:
        devices = None if simulation is None else [simulation.device]
        chosen = choose_profile(settings.worker.profile, settings, devices=devices)
        settings = configure(config, adapter if simulation is None else None, default_model, chosen.settings, **flags)
    log = settings.logging
    configure_logging(log.level, log.format, include_session_id=log.include_session_id)
    warn_of_environment()
    if chosen is not None:
        chosen.announce()
        if settings.worker.strict_profile:
            refuse_mismatch(chosen)
    ready = _Announcement(None if chosen is not None else partial(announce_none, settings))
    trio.run(partial(run, simulation=simulation, task_status=ready), settings)


def simulated_default(profile: Profile, settings: Config, named: str | None) -> str:
    """Choose the default model of a simulation: the one that is named or configured, if it is simulated, or the first.

    Raises:
        NotFoundError: The model that is named isn't simulated.
    """
    if named is not None and named not in profile.models:
        there = ", ".join(profile.models)
        raise NotFoundError(f"the profile {profile.name} simulates no model {named!r}; there are: {there}")
    configured = settings.model_manager.default_model_id
    return named or (configured if configured in profile.models else next(iter(profile.models)))


class _Announcement(trio.TaskStatus[str]):
    """Says on stdout where the worker serves. One that is stopped while it starts never serves, and says nothing."""

    def __init__(self, note: Callable[[], None] | None) -> None:
        """Keep what is to be said in the log before."""
        self._note = note

    def started(self, value: str | None = None) -> None:
        if self._note is not None:
            self._note()
        write_text(f"ready {value}\n")
