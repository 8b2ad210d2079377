"""From the command line to a configuration: which file, which flags."""

import os
from pathlib import Path

import structlog

from ttsw.config import Config, load_config
from ttsw.config.environment import stray_variables
from ttsw.config.folders import homeless
from ttsw.config.keys import Settings
from ttsw.errors import NotFoundError
from ttsw.packs.catalogue import find_packs

log = structlog.get_logger(__name__)


def warn_of_environment() -> None:
    """Say in the log which variables look like settings and set nothing, and which folder stands for a missing home."""
    for name, near in stray_variables(os.environ).items():
        log.warning("variable ignored", name=name, mend=f"{near} sets a key" if near else "TTSW_<SECTION>__<KEY> does")
    folder = homeless(os.environ)
    if folder is not None:
        log.warning("no home directory", folder=str(folder), mend="set XDG_DATA_HOME and XDG_STATE_HOME to folders")


def configure(
    file: Path | None,
    adapter: str | None,
    default_model: str | None,
    profile: Settings | None = None,
    **flags: object,
) -> Config:
    """Load the configuration under flags by dotted key.

    Args:
        file: The configuration file.
        adapter: A family whose first model is to be the default.
        default_model: The default model; wins over `adapter`.
        profile: What a profile sets.
        flags: Values by dotted key; None counts as not given.

    Raises:
        ConfigError: The configuration can't be used.
        NotFoundError: The family has no voice pack.
    """
    flags["model_manager.default_model_id"] = default_model
    config = load_config(file, os.environ, flags, profile)
    if adapter is None or default_model is not None:
        return config
    flags |= {"model_manager.default_model_id": _first_of(adapter, config)}
    return load_config(file, os.environ, flags, profile)


def _first_of(family: str, config: Config) -> str:
    shelf = find_packs(config)
    own = [key for key, pack in shelf.packs.items() if pack.family == family]
    broken = [fault for key, fault in shelf.broken.items() if key.startswith(f"{family}-")]
    if config.model_manager.default_model_id in own:
        return config.model_manager.default_model_id
    if own:
        return own[0]
    if broken:
        raise NotFoundError(f"no usable voice pack of family {family!r}: {broken[0]}")
    there = sorted({pack.family for pack in shelf.packs.values()})
    raise NotFoundError(f"no voice pack of family {family!r}; there are packs of: {', '.join(there) or 'none'}")
