"""A worker's record in the registry: definition, serialization and validation.

A valid record has exactly six keys, each of its type, and a limited size. Unknown entries in `capabilities` and
`metrics` are ignored, for compatibility with workers of other versions and other programs. Strings that are unsafe to
display and numbers out of range are rejected here, so other code can rely on them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from ipaddress import ip_address
from typing import Self

from ttsw.errors import InvalidArgumentError
from ttsw.system.addresses import join_address
from ttsw.system.terminal import is_safe, make_safe

PREFIX = "worker:"
"""Prefix of the registry's keys, followed by the worker's name."""

MAX_BYTES = 65_536
"""Maximum size of a record, bytes; sufficient for several thousand models."""

TTL_S = 30.0
"""Maximum age of a record without its own `ttl_s`, seconds."""

MAX_NUMBER = 1e15
"""Largest number accepted; integers up to it are exact as a float."""

MAX_TTL_S = 1e9
MAX_SESSIONS = 1_000_000_000
_KEYS = ("name", "addr", "capabilities", "resident_models", "metrics", "last_heartbeat_ts")
_FLAGS = ("streaming", "zero_shot", "lora", "cpu_ok", "emotive_zero_prompt")
_TEXTS = ("state", "version", "device", "instance")
_LISTS = ("languages", "models")
_ADDR = re.compile(r"grpc://(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]@]+):([0-9]{1,5})")


class MalformedRecordError(InvalidArgumentError):
    """The value of a worker's key is not a valid record; the text names the key and the fault."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """Description of a worker.

    Args:
        name: Name of the worker, unique in the registry.
        addr: Address for clients, `grpc://HOST:PORT`.
        capabilities: Fields of the public `Capabilities` message by name, plus `state`, `version`, `device`, `models`
            (loadable models), `instance` (identifier of the worker's process) and `ttl_s` (age at which the record
            becomes stale, seconds).
        resident_models: Models in memory.
        metrics: Metrics by name.
        last_heartbeat_ts: Time of writing, Unix seconds by Redis's clock.
    """

    name: str
    addr: str
    capabilities: Mapping[str, object] = field(default_factory=dict)
    resident_models: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    last_heartbeat_ts: float = 0.0

    @property
    def key(self) -> str:
        """Key of the record in Redis."""
        return PREFIX + self.name

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.addr.removeprefix("grpc://").rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def state(self) -> str:
        """`starting`, `ready` or `draining`; `ready` if missing."""
        return str(self.capabilities.get("state", "ready"))

    @property
    def instance(self) -> str:
        """Identifier of the worker's process; empty if missing."""
        return str(self.capabilities.get("instance", ""))

    @property
    def models(self) -> tuple[str, ...]:
        """Models in memory, then loadable models."""
        return tuple(dict.fromkeys((*self.resident_models, *self._list("models"))))

    @property
    def languages(self) -> tuple[str, ...]:
        """Supported languages."""
        return self._list("languages")

    @property
    def limit(self) -> int | None:
        """Maximum number of concurrent sessions; None if missing."""
        limit = self.capabilities.get("max_concurrent_sessions")
        return limit if isinstance(limit, int) else None

    @property
    def ttl_s(self) -> float:
        """Age at which the record becomes stale, seconds."""
        return _number(self.capabilities.get("ttl_s")) or TTL_S

    def has_capability(self, capability: str) -> bool:
        """Return whether the worker has a capability, by name."""
        return self.capabilities.get(capability) is True

    def age_s(self, now: float) -> float:
        """Return the time since the record was written, seconds."""
        return max(0.0, now - self.last_heartbeat_ts)

    def is_stale(self, now: float) -> bool:
        """Return whether the record is older than its `ttl_s`, or as far in the future because of a wrong clock."""
        return abs(now - self.last_heartbeat_ts) > self.ttl_s

    def stamped(self, instance: str, ttl_s: float, now: float) -> Self:
        """Return a copy with the given instance, `ttl_s` and time of writing."""
        capabilities = {**self.capabilities, "instance": instance, "ttl_s": ttl_s}
        return replace(self, capabilities=capabilities, last_heartbeat_ts=now)

    def to_json(self) -> bytes:
        """Return the record as JSON for `parse_record`, without metrics out of range.

        Raises:
            MalformedRecordError: The record is invalid.
        """
        metrics = {name: value for name, value in self.metrics.items() if _number(value) is not None}
        plain = asdict(replace(self, capabilities=dict(self.capabilities), metrics=metrics))
        data = json.dumps(plain, separators=(",", ":")).encode()
        parse_record(self.key, data)
        return data

    def _list(self, name: str) -> tuple[str, ...]:
        value = self.capabilities.get(name)
        return tuple(value) if isinstance(value, list | tuple) else ()


def grpc_addr(advertised: str | None, host: str, port: int, machine: str) -> str:
    """Return a worker's address for clients.

    >>> grpc_addr("tts.example:443", "0.0.0.0", 7002, "box")
    'grpc://tts.example:443'
    >>> grpc_addr(None, "0.0.0.0", 7002, "box"), grpc_addr(None, "::1", 7002, "box")
    ('grpc://box:7002', 'grpc://[::1]:7002')

    Args:
        advertised: Configured HOST:PORT; None if not configured.
        host: Listening address.
        port: Listening port.
        machine: Name of this machine, used if the worker listens on all addresses.
    """
    if advertised is not None:
        return f"grpc://{advertised}"
    public_host = machine if host in {"", "0.0.0.0", "::"} else host
    return f"grpc://{join_address(public_host, port)}"


def parse_record(key: str, data: bytes) -> WorkerRecord:
    """Parse the value of a worker's key.

    Raises:
        MalformedRecordError: The value is not a valid record.
    """
    try:
        return _checked(key, _decoded(data))
    except _NotARecordError as fault:
        raise MalformedRecordError(f"{printable(key)}: {fault}") from None


def printable(text: str) -> str:
    """Escape a text of unknown origin for display, and cut it to 200 characters.

    >>> printable("worker:" + chr(27) + "[2J") == "worker:" + ascii(chr(27))[1:-1] + "[2J"
    True
    """
    safe = make_safe(text)
    return safe if len(safe) <= 200 else f"{safe[:199]}…"


class _NotARecordError(Exception):
    """Reason why a value is not a record."""


def _require(condition: object, fault: str) -> None:
    if not condition:
        raise _NotARecordError(fault)


def _decoded(data: bytes) -> dict[str, object]:
    _require(len(data) <= MAX_BYTES, f"larger than {MAX_BYTES} bytes")
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _NotARecordError(f"not JSON: {printable(str(error))}") from None
    _require(isinstance(value, dict), f"a JSON {type(value).__name__}, not an object")
    missing = [name for name in _KEYS if name not in value]
    _require(not missing, f"lacks {', '.join(missing)}")
    extra = sorted(set(value) - set(_KEYS))
    _require(not extra, f"has unknown keys: {printable(', '.join(extra))}")
    return dict(value)


def _checked(key: str, value: dict[str, object]) -> WorkerRecord:
    name, addr, capabilities, resident, metrics, stamp = (value[each] for each in _KEYS)
    _require(_is_text(name) and key == f"{PREFIX}{name}", "name doesn't match the key")
    _require(_is_text(addr) and _is_addr(str(addr)), "addr isn't grpc://HOST:PORT")
    _require(isinstance(capabilities, dict), "capabilities isn't an object")
    _require(_is_list(resident), "resident_models isn't a list of valid strings")
    _require(isinstance(metrics, dict), "metrics isn't an object")
    assert isinstance(capabilities, dict)
    assert isinstance(metrics, dict)
    for each, number in metrics.items():
        _require(_number(number) is not None, f"metrics.{printable(each)} isn't a valid number")
    _require(_number(stamp) is not None, "last_heartbeat_ts isn't a valid time")
    _check_capabilities(capabilities)
    return WorkerRecord(
        str(name),
        str(addr),
        capabilities,
        tuple(resident) if isinstance(resident, list) else (),
        {each: _number(number) or 0.0 for each, number in metrics.items()},
        _number(stamp) or 0.0,
    )


def _check_capabilities(capabilities: dict[str, object]) -> None:
    for name in _FLAGS:
        _require(isinstance(capabilities.get(name, False), bool), f"capabilities.{name} isn't true or false")
    for name in _TEXTS:
        _require(name not in capabilities or _is_text(capabilities[name]), f"capabilities.{name} isn't a valid string")
    for name in _LISTS:
        _require(_is_list(capabilities.get(name, [])), f"capabilities.{name} isn't a list of valid strings")
    ttl_s = _number(capabilities.get("ttl_s", TTL_S))
    _require(ttl_s is not None and 0 < ttl_s <= MAX_TTL_S, "capabilities.ttl_s isn't a valid duration")
    limit = capabilities.get("max_concurrent_sessions", 0)
    valid = isinstance(limit, int) and not isinstance(limit, bool) and 0 <= limit <= MAX_SESSIONS
    _require(valid, "capabilities.max_concurrent_sessions isn't a valid integer")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000 and is_safe(value)


def _is_addr(addr: str) -> bool:
    match = _ADDR.fullmatch(addr)
    if match is None or not 0 < int(match[2]) <= 65_535:
        return False
    try:
        return bool(ip_address(match[1][1:-1]) if match[1].startswith("[") else match[1].encode("idna"))
    except ValueError:  # includes UnicodeError, for an invalid host name
        return False


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) <= MAX_NUMBER else None
