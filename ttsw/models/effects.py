"""What residency asks for: the effects that its caller is to carry out, and the loads that wait in line."""

from dataclasses import dataclass, field

from ttsw.errors import TtswError
from ttsw.models.instances import Footprint, Instance, Request, UnloadCause


@dataclass(eq=False, slots=True)
class Demand:
    """A load that waits in line, and who waits for it. Where it can be isn't known until it is weighed.

    `base` is the model that it is based on, if it does; `errand` is the request for that, while it isn't there.
    """

    model_id: str
    requests: dict[Request, None] = field(default_factory=dict)
    places: tuple[Footprint, ...] | None = None
    retried: bool = False
    base: str = ""
    errand: Request | None = None

    @property
    def speculative(self) -> bool:
        """Whether all who want it want it only if there is room."""
        return all(request.speculative for request in self.requests)


@dataclass(frozen=True, slots=True)
class Weigh:
    """Find out where a model can be and what it takes; then say `weighed`, or `refused`."""

    demand: Demand


@dataclass(frozen=True, slots=True)
class StartLoad:
    """Load a copy; then say `loaded` and `warmed`, or `failed`."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class CancelLoad:
    """End a load; then say `unloaded`."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class StartUnload:
    """Unload a copy, see its memory back; then say `unloaded`."""

    instance: Instance
    cause: UnloadCause


@dataclass(frozen=True, slots=True)
class Grant:
    """A request has what it wants; where it leases, it holds this copy from now on."""

    request: Request
    instance: Instance


@dataclass(frozen=True, slots=True)
class Refuse:
    """A request won't have what it wants."""

    request: Request
    error: TtswError


@dataclass(frozen=True, slots=True)
class Revoke:
    """Ask a holder to give its lease back as soon as it can."""

    request: Request


Effect = Weigh | StartLoad | CancelLoad | StartUnload | Grant | Refuse | Revoke
