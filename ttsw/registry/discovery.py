"""Finding workers: who is registered, who of them fits, who is best.

`find_workers` reads; all else decides on what was read. A record that is malformed is a fault to be shown, one that is
stale is passed over, and neither keeps the others from being found.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttsw.languages import match_language
from ttsw.registry.record import MalformedRecordError, WorkerRecord, parse_record, shown

if TYPE_CHECKING:
    from ttsw.registry.connection import RegistryConnection

READY = frozenset({"ready"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Something under a worker's key that is no record."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in the registry.

    Args:
        workers: Those that tell of themselves, by name.
        faults: What else there is.
        now: When, Unix seconds by Redis's clock.
    """

    workers: tuple[WorkerRecord, ...]
    faults: tuple[Fault, ...]
    now: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a worker must offer; what is empty is anything.

    Args:
        model: A model's full id: in memory, or such that it could be loaded.
        language: A language's code; `en` is offered by one who speaks `en-US`, and the other way round.
        capabilities: Names of capabilities, such as `zero_shot`.
        states: States.
    """

    model: str = ""
    language: str = ""
    capabilities: frozenset[str] = frozenset()
    states: frozenset[str] = READY


async def find_workers(connection: "RegistryConnection") -> Listing:
    """Read who is registered.

    Raises:
        RegistryError: Redis can't be asked, or refuses.
    """
    now, found = await connection.read_all()
    workers, faults = [], []
    for key, value in found.items():
        if isinstance(value, str):
            faults.append(Fault(shown(key), f"{shown(key)}: {shown(value)}"))
            continue
        try:
            workers.append(parse_record(key, value))
        except MalformedRecordError as error:
            faults.append(Fault(shown(key), str(error)))
    return Listing(tuple(workers), tuple(faults), now)


def fits(record: WorkerRecord, wanted: Wanted) -> bool:
    """Whether a worker offers what is wanted."""
    return (
        (not wanted.model or wanted.model in record.models)
        and (not wanted.language or match_language(wanted.language, record.languages) is not None)
        and all(record.can(capability) for capability in wanted.capabilities)
        and (not wanted.states or record.state in wanted.states)
    )


def pick(
    records: Iterable[WorkerRecord],
    wanted: Wanted,
    now: float,
    *,
    chance: Callable[[], float] = random.random,
) -> WorkerRecord | None:
    """Pick the worker to speak through; None where none fits.

    The least busy of those that have the model in memory comes first, then the least busy of those that could load it.
    A worker that is full comes last, since by now it may not be. Of equals, any may be picked.

    Args:
        records: Those there are.
        wanted: What it must offer.
        now: The time that the records' age is judged by, Unix seconds.
        chance: Gives a number from 0 to 1, for equals.
    """
    fit = [record for record in records if fits(record, wanted) and not record.is_stale(now)]
    return min(fit, key=lambda record: (*_merit(record, wanted.model), chance()), default=None)


def _merit(record: WorkerRecord, model: str) -> Iterator[float]:
    sessions, limit = record.metrics.get("active_sessions", 0.0), record.limit
    yield limit is not None and sessions >= limit
    yield bool(model) and model not in record.resident_models
    yield sessions / limit if limit else sessions
    yield record.metrics.get("queue_depth", 0.0)
