"""The program that installs packages into an environment: uv where it is found, otherwise the environment's own pip.

uv is several times faster, and environments that share a library share its files. It doesn't read pip's configuration,
so its settings are derived from that: a machine's index and certificates are used by both. Where pip is configured with
extra indexes, pip is used: it takes the best file of all indexes, uv that of the first index with the version.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_PIP = ("-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
_SETTING = re.compile(r"(?:global|user|site|install|:env:)\.([a-z-]+)='(.*)'")

_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
}
"""By pip setting, uv's environment variable for it."""


class Installer(NamedTuple):
    """A way to install packages.

    Args:
        name: Its name, for messages.
        command: The command line, to which requirements are appended.
        environ: Its environment variables.
    """

    name: str
    command: list[str | Path]
    environ: Mapping[str, str]


def find_installer(python: Path, environ: Mapping[str, str]) -> Installer:
    """Return the installer for the environment of an interpreter.

    Args:
        python: The environment's interpreter, which has pip.
        environ: The environment variables; UV_* variables take precedence over pip's configuration.
    """
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{environ.get('PATH', '')}")
    settings = {} if uv is None else uv_settings(_pip_config(python, environ))
    if uv is None or ("UV_INDEX" in settings and "UV_INDEX" not in environ):
        return Installer("pip", [python, *_PIP], environ)
    settings |= environ
    return Installer("uv", [uv, "pip", "install", "--no-progress", "--python", python], settings)


def uv_settings(pip_config: str) -> dict[str, str]:
    r"""Translate pip's configuration, as `pip config list` writes it, into uv's environment variables.

    >>> uv_settings(":env:.find-links='/wheels'\nglobal.extra-index-url='a\\nb'\nglobal.find-links='/other'")
    {'UV_INDEX': 'a b', 'UV_FIND_LINKS': '/wheels'}
    """
    found: dict[str, str] = {}
    for line in sorted(pip_config.splitlines(), key=lambda line: line.startswith(":env:")):  # variables override files
        setting = _SETTING.fullmatch(line.strip())
        if setting is not None and (variable := _VARIABLES.get(setting[1])) is not None:
            found[variable] = " ".join(setting[2].replace("\\n", " ").split())
    return found


def _pip_config(python: Path, environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        [python, "-m", "pip", "config", "list", "--disable-pip-version-check"],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.stdout
