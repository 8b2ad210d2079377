"""Effects: the actions that residency asks its caller to carry out, and the loads in its queue."""

from dataclasses import dataclass, field

from ttsw.errors import TtswError
from ttsw.models.instances import Footprint, Instance, Request, UnloadCause


@dataclass(eq=False, slots=True)
class Demand:
    """A queued load and the requests that wait for it. Its footprints are unknown until it is weighed.

    `base` is the id of the model that it is based on, if any; `errand` is the request for that model, until granted.
    """

    model_id: str
    requests: dict[Request, None] = field(default_factory=dict)
    places: tuple[Footprint, ...] | None = None
    retried: bool = False
    base: str = ""
    errand: Request | None = None

    @property
    def speculative(self) -> bool:
        """Whether every request for it is speculative."""
        return all(request.speculative for request in self.requests)


@dataclass(frozen=True, slots=True)
class Weigh:
    """Find a model's footprints; answer with `weighed` or `refused`."""

    demand: Demand


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Load a copy; answer with `loaded` and `warmed`, or with `failed`."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class CancelLoad:
    """Cancel a load; answer with `unloaded`."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class StartUnload:
    """Unload a copy and wait for its memory; answer with `unloaded`."""

    instance: Instance
    cause: UnloadCause


@dataclass(frozen=True, slots=True)
class Grant:
    """Grant a request; a leasing one holds this copy from now on."""

    request: Request
    instance: Instance


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse a request."""

    request: Request
    error: TtswError


@dataclass(frozen=True, slots=True)
class Revoke:
    """Ask a holder to release its lease as soon as possible."""

    request: Request


Effect = Weigh | StartLoad | CancelLoad | StartUnload | Grant | Refuse | Revoke
