"""Settings from environment variables.

`TTSW_<SECTION>__<KEY>` sets a key, deeper by further `__`; `WORKER_NAME` and `LOG_LEVEL` are short for two of them, and
count as unset where empty. A `TTSW_` variable without `__` is somebody else's. What the key and the value are worth is
judged with all other settings, in `ttsw.config.load`.
"""

from collections.abc import Mapping

from ttsw.config.keys import Key, Setting, Settings, from_text

_PREFIX = "TTSW_"
_SHORT: dict[str, Key] = {"WORKER_NAME": ("worker", "name"), "LOG_LEVEL": ("logging", "level")}


def environment_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings that `environ` gives, each with its variable's name as its origin. The long form wins.

    >>> environment_settings({"TTSW_WORKER__GRPC_PORT": "0", "HOME": "/"})
    {('worker', 'grpc_port'): Setting(value=0, origin='TTSW_WORKER__GRPC_PORT')}
    """
    short = {key: Setting(from_text(environ[name], key), name) for name, key in _SHORT.items() if environ.get(name)}
    return short | {
        key: Setting(from_text(text, key), name)
        for name, text in sorted(environ.items())
        if name.startswith(_PREFIX) and "__" in name.removeprefix(_PREFIX)
        for key in [key_of(name)]
    }


def key_of(variable: str) -> Key:
    """Give the key that a variable sets. A family's hyphens are underscores in a variable's name.

    >>> key_of("TTSW_ENGINES__XTTS_V2__THREADS")
    ('engines', 'xtts-v2', 'threads')
    """
    section, *rest = variable.removeprefix(_PREFIX).lower().split("__")
    if section == "engines" and rest:
        rest[0] = rest[0].replace("_", "-")
    return (section, *rest)


def variable_of(key: Key) -> str:
    """Name the variable that sets `key`: the inverse of `key_of`."""
    return _PREFIX + "__".join(key).replace("-", "_").upper()


def is_variable(origin: str) -> bool:
    """Whether an origin is an environment variable."""
    return origin in _SHORT or origin.startswith(_PREFIX)
