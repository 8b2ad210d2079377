"""A worker's record in the registry: its six keys, how it is written, and what a reader takes for one.

Decides what is malformed: the six keys and no others, each of its type, in few bytes. Inside `capabilities` and
`metrics` a reader finds what he knows and leaves alone what he doesn't, so that workers of other versions, and other
programs' workers, are understood. Text that isn't safe to show and figures beyond all sense are refused here, once for
all who show them or reckon with them.
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
"""What the keys of the registry begin with; the worker's name follows."""

MOST_BYTES = 65_536
"""Largest record, bytes; some thousand models fit."""

TTL_S = 30.0
"""At what age a record is out of date that doesn't say so itself, s."""

LARGEST = 1e15
"""Largest figure; whole numbers up to it are exact as a float."""

LONGEST_TTL_S = 1e9
MOST_SESSIONS = 1_000_000_000
_KEYS = ("name", "addr", "capabilities", "resident_models", "metrics", "last_heartbeat_ts")
_FLAGS = ("streaming", "zero_shot", "lora", "cpu_ok", "emotive_zero_prompt")
_TEXTS = ("state", "version", "device", "instance")
_LISTS = ("languages", "models")
_ADDR = re.compile(r"grpc://(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]@]+):([0-9]{1,5})")


class MalformedRecordError(InvalidArgumentError):
    """What is under a worker's key is no record; the text names the key and the fault."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """What a worker tells of itself.

    Args:
        name: The worker's name, unique in the registry.
        addr: Where it is reached: `grpc://HOST:PORT`.
        capabilities: The contract's fields by name, and `state`, `version`, `device`, `models` (those that could be
            loaded), `instance` (the process that the record belongs to) and `ttl_s` (when it is out of date).
        resident_models: Models that are in memory.
        metrics: Figures by name.
        last_heartbeat_ts: When this was written, Unix seconds by Redis's clock.
    """

    name: str
    addr: str
    capabilities: Mapping[str, object] = field(default_factory=dict)
    resident_models: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    last_heartbeat_ts: float = 0.0

    @property
    def key(self) -> str:
        """The record's key in Redis."""
        return PREFIX + self.name

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port."""
        host, _, port = self.addr.removeprefix("grpc://").rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def state(self) -> str:
        """`starting`, `ready` or `draining`; a worker that says nothing of it is ready."""
        return str(self.capabilities.get("state", "ready"))

    @property
    def instance(self) -> str:
        """The process that the record belongs to; empty where it doesn't say."""
        return str(self.capabilities.get("instance", ""))

    @property
    def models(self) -> tuple[str, ...]:
        """Models that are in memory, or could be loaded."""
        return tuple(dict.fromkeys((*self.resident_models, *self._list("models"))))

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages spoken."""
        return self._list("languages")

    @property
    def limit(self) -> int | None:
        """Sessions admitted at once; None where it doesn't say."""
        limit = self.capabilities.get("max_concurrent_sessions")
        return limit if isinstance(limit, int) else None

    @property
    def ttl_s(self) -> float:
        """At what age it is out of date, s."""
        return _number(self.capabilities.get("ttl_s")) or TTL_S

    def can(self, capability: str) -> bool:
        """Whether it says that it has a capability, by name."""
        return self.capabilities.get(capability) is True

    def age_s(self, now: float) -> float:
        """How long ago it was written, s."""
        return max(0.0, now - self.last_heartbeat_ts)

    def is_stale(self, now: float) -> bool:
        """Whether it is out of date; or from a future as far, which no clock of ours wrote."""
        return abs(now - self.last_heartbeat_ts) > self.ttl_s

    def stamped(self, instance: str, ttl_s: float, now: float) -> Self:
        """The same, written now by this process, to last for so long."""
        capabilities = {**self.capabilities, "instance": instance, "ttl_s": ttl_s}
        return replace(self, capabilities=capabilities, last_heartbeat_ts=now)

    def to_json(self) -> bytes:
        """Write it, as `parse_record` reads it. A figure that no reader would take is left out.

        Raises:
            MalformedRecordError: No reader would take it.
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
    """Say where others reach a worker.

    >>> grpc_addr("tts.example:443", "0.0.0.0", 7002, "box")
    'grpc://tts.example:443'
    >>> grpc_addr(None, "0.0.0.0", 7002, "box"), grpc_addr(None, "::1", 7002, "box")
    ('grpc://box:7002', 'grpc://[::1]:7002')

    Args:
        advertised: HOST:PORT, where the configuration says it.
        host: The address listened on.
        port: The port listened on.
        machine: This machine's name, for one who listens on all its addresses.
    """
    if advertised is not None:
        return f"grpc://{advertised}"
    reached = machine if host in {"", "0.0.0.0", "::"} else host
    return f"grpc://{join_address(reached, port)}"


def parse_record(key: str, data: bytes) -> WorkerRecord:
    """Read what is under a worker's key.

    Raises:
        MalformedRecordError: It is no record.
    """
    try:
        return _checked(key, _decoded(data))
    except _NotARecordError as fault:
        raise MalformedRecordError(f"{shown(key)}: {fault}") from None


def shown(text: str) -> str:
    """Make a text from elsewhere safe to show, and cut it to 200 characters.

    >>> shown("worker:" + chr(27) + "[2J") == "worker:" + ascii(chr(27))[1:-1] + "[2J"
    True
    """
    safe = make_safe(text)
    return safe if len(safe) <= 200 else f"{safe[:199]}…"


class _NotARecordError(Exception):
    """Why not."""


def _require(fine: object, fault: str) -> None:
    if not fine:
        raise _NotARecordError(fault)


def _decoded(data: bytes) -> dict[str, object]:
    _require(len(data) <= MOST_BYTES, f"larger than {MOST_BYTES} bytes")
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _NotARecordError(f"not JSON: {shown(str(error))}") from None
    _require(isinstance(value, dict), f"a JSON {type(value).__name__}, not an object")
    missing = [name for name in _KEYS if name not in value]
    _require(not missing, f"lacks {', '.join(missing)}")
    extra = sorted(set(value) - set(_KEYS))
    _require(not extra, f"has keys that a record hasn't: {shown(', '.join(extra))}")
    return dict(value)


def _checked(key: str, value: dict[str, object]) -> WorkerRecord:
    name, addr, capabilities, resident, metrics, stamp = (value[each] for each in _KEYS)
    _require(_is_text(name) and key == f"{PREFIX}{name}", "name isn't that of the key")
    _require(_is_text(addr) and _is_addr(str(addr)), "addr isn't grpc://HOST:PORT")
    _require(isinstance(capabilities, dict), "capabilities isn't an object")
    _require(_is_list(resident), "resident_models isn't a list of texts")
    _require(isinstance(metrics, dict), "metrics isn't an object")
    assert isinstance(capabilities, dict)
    assert isinstance(metrics, dict)
    for each, figure in metrics.items():
        _require(_number(figure) is not None, f"metrics.{shown(each)} isn't a number")
    _require(_number(stamp) is not None, "last_heartbeat_ts isn't a time")
    _check_capabilities(capabilities)
    return WorkerRecord(
        str(name),
        str(addr),
        capabilities,
        tuple(resident) if isinstance(resident, list) else (),
        {each: _number(figure) or 0.0 for each, figure in metrics.items()},
        _number(stamp) or 0.0,
    )


def _check_capabilities(told: dict[str, object]) -> None:
    for name in _FLAGS:
        _require(isinstance(told.get(name, False), bool), f"capabilities.{name} isn't true or false")
    for name in _TEXTS:
        _require(name not in told or _is_text(told[name]), f"capabilities.{name} isn't a text")
    for name in _LISTS:
        _require(_is_list(told.get(name, [])), f"capabilities.{name} isn't a list of texts")
    ttl_s = _number(told.get("ttl_s", TTL_S))
    _require(ttl_s is not None and 0 < ttl_s <= LONGEST_TTL_S, "capabilities.ttl_s isn't a time")
    limit = told.get("max_concurrent_sessions", 0)
    whole = isinstance(limit, int) and not isinstance(limit, bool) and 0 <= limit <= MOST_SESSIONS
    _require(whole, "capabilities.max_concurrent_sessions isn't a whole number")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1000 and is_safe(value)


def _is_addr(addr: str) -> bool:
    match = _ADDR.fullmatch(addr)
    if match is None or not 0 < int(match[2]) <= 65_535:
        return False
    try:
        return bool(ip_address(match[1][1:-1]) if match[1].startswith("[") else match[1].encode("idna"))
    except ValueError:  # UnicodeError is one: no name could be asked for
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
    return number if abs(number) <= LARGEST else None
