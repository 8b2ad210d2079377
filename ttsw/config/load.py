"""Laying the layers: defaults < file < profile < environment < flags, validated once as a whole.

Validating the whole, rather than each layer, lets a certificate come from the file and its key from the environment;
each fault still names the layer that gave it.
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from ttsw.config.environment import environment_settings
from ttsw.config.faults import explain
from ttsw.config.keys import Setting, Settings, from_text, leaves, nest
from ttsw.config.schema import Config
from ttsw.config.yaml_file import read_settings
from ttsw.errors import ConfigError


def load_config(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object], profile: Settings | None = None
) -> Config:
    """Load the configuration.

    Args:
        path: The YAML file; None for none.
        environ: The environment's variables.
        flags: Values by dotted key (`worker.grpc_port`), as a command line gives them; a None counts as not given.
        profile: What a profile sets: over the file, under the environment.

    Raises:
        ConfigError: Something can't be used; the text lists all faults, each with origin, key, value and what is valid.
    """
    return trace_config(path, environ, flags, profile)[0]


def trace_config(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object], profile: Settings | None = None
) -> tuple[Config, dict[str, str]]:
    """Load the configuration, and say where each value comes from.

    Returns:
        The configuration, and by dotted key the origin: "default", a file with its line, a variable, a flag.

    Raises:
        ConfigError: As `load_config`.
    """
    file = read_settings(path) if path else {}
    given = file | (profile or {}) | environment_settings(environ) | _flag_settings(flags)
    try:
        config = Config.model_validate(nest(given))
    except ValidationError as error:
        raise ConfigError(explain(error.errors(include_url=False), given)) from None
    origins = {key: given[key].origin if key in given else "default" for key, _ in leaves(config.model_dump())}
    return config, {".".join(key): origin for key, origin in origins.items()}


def _flag_settings(flags: Mapping[str, object]) -> Settings:
    """Flags as settings; a flag's text is read as a variable's is."""
    return {
        key: Setting(from_text(value, key) if isinstance(value, str) else value, f"flag {name}")
        for name, top in flags.items()
        if top is not None
        for key, value in leaves(top, tuple(name.split(".")))
    }
