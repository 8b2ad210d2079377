"""Settings from environment variables.

`TTSW_<SECTION>__<KEY>` sets a key, with further `__` for deeper keys. `WORKER_NAME` and `LOG_LEVEL` are short forms of
two of them, and are ignored if empty. A `TTSW_` variable without `__` sets nothing, and is reported as a stray.
`ttsw.config.load` validates keys and values.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from ttsw.config.keys import Key, Setting, Settings, from_text, names_at

_PREFIX = "TTSW_"
_SHORT: dict[str, Key] = {"WORKER_NAME": ("worker", "name"), "LOG_LEVEL": ("logging", "level")}


def environment_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings in `environ`, each with its variable's name as origin. The long form takes precedence.

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
    """Return the key that a variable sets. Underscores in a variable stand for hyphens in a family's name.

    >>> key_of("TTSW_ENGINES__XTTS_V2__THREADS")
    ('engines', 'xtts-v2', 'threads')
    """
    section, *rest = variable.removeprefix(_PREFIX).lower().split("__")
    if section == "engines" and rest:
        rest[0] = rest[0].replace("_", "-")
    return (section, *rest)


def stray_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that look like settings but set nothing, each with the most similar valid one, if any.

    >>> stray_variables({"TTSW_WORKER_PORT": "3", "TTSW_WORKER__NAME": "alto"})
    {'TTSW_WORKER_PORT': 'TTSW_WORKER__GRPC_PORT'}
    """
    strays = [name for name in sorted(environ) if name.startswith(_PREFIX) and "__" not in name.removeprefix(_PREFIX)]
    valid = list(map(variable_of, _all_keys())) if strays else []
    return {name: next(iter(get_close_matches(name, valid, n=1)), "") for name in strays}


def _all_keys(above: Key = ()) -> Iterator[Key]:
    for name in names_at(above):
        key = (*above, name)
        if names_at(key):
            yield from _all_keys(key)
        else:
            yield key


def variable_of(key: Key) -> str:
    """Return the variable that sets `key`; the inverse of `key_of`."""
    return _PREFIX + "__".join(key).replace("-", "_").upper()


def is_variable(origin: str) -> bool:
    """Return whether an origin is an environment variable."""
    return origin in _SHORT or origin.startswith(_PREFIX)
