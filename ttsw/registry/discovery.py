"""Worker discovery: read the registered workers, filter them, and select the best one.

Only `find_workers` performs I/O. A malformed record is reported as a fault and a stale one is skipped; neither affects
the other records.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttsw.languages import match_language
from ttsw.registry.record import MalformedRecordError, WorkerRecord, parse_record, printable

if TYPE_CHECKING:
    from ttsw.registry.connection import RegistryConnection

READY = frozenset({"ready"})


@dataclass(frozen=True, slots=True)
class Fault:
    """A malformed record and its error message."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Content of the registry.

    Args:
        workers: Valid records, sorted by key.
        faults: Malformed records.
        now: Time of reading, Unix seconds by Redis's clock.
    """

    workers: tuple[WorkerRecord, ...]
    faults: tuple[Fault, ...]
    now: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """Requirements on a worker; an empty value accepts any worker.

    Args:
        model: Full id of a model in memory or loadable.
        language: Language code; `en` matches a worker with `en-US`, and vice versa.
        capabilities: Names of required capabilities, such as `zero_shot`.
        states: Accepted states.
    """

    model: str = ""
    language: str = ""
    capabilities: frozenset[str] = frozenset()
    states: frozenset[str] = READY


async def find_workers(connection: "RegistryConnection") -> Listing:
    """Read all records of the registry.

    Raises:
        RegistryError: Redis is unreachable or refuses the operation.
    """
    now, found = await connection.read_all()
    workers, faults = [], []
    for key, value in found.items():
        if isinstance(value, str):
            faults.append(Fault(printable(key), f"{printable(key)}: {printable(value)}"))
            continue
        try:
            workers.append(parse_record(key, value))
        except MalformedRecordError as error:
            faults.append(Fault(printable(key), str(error)))
    return Listing(tuple(workers), tuple(faults), now)


def fits(record: WorkerRecord, wanted: Wanted) -> bool:
    """Return whether a worker meets the requirements."""
    return (
        (not wanted.model or wanted.model in record.models)
        and (not wanted.language or match_language(wanted.language, record.languages) is not None)
        and all(record.has_capability(capability) for capability in wanted.capabilities)
        and (not wanted.states or record.state in wanted.states)
    )


def pick(
    records: Iterable[WorkerRecord],
    wanted: Wanted,
    now: float,
    *,
    tie_break: Callable[[], float] = random.random,
) -> WorkerRecord | None:
    """Return the best worker that meets the requirements, None if no worker does.

    The least busy worker with the model in memory comes first, then the least busy one that could load it. A full
    worker comes last, since it may have room again. Among equals, the choice is random.

    Args:
        records: Records to choose from.
        wanted: Requirements.
        now: Current time for the age of the records, Unix seconds by Redis's clock.
        tie_break: Returns a random number from 0 to 1 for the choice among equals.
    """
    fitting = [record for record in records if fits(record, wanted) and not record.is_stale(now)]
    return min(fitting, key=lambda record: (*_rank(record, wanted.model), tie_break()), default=None)


def _rank(record: WorkerRecord, model: str) -> Iterator[float]:
    sessions, limit = record.metrics.get("active_sessions", 0.0), record.limit
    yield limit is not None and sessions >= limit
    yield bool(model) and model not in record.resident_models
    yield sessions / limit if limit else sessions
    yield record.metrics.get("queue_depth", 0.0)
