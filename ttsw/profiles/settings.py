"""A profile as a layer of the configuration: what it sets, under which keys."""

from collections.abc import Iterable, Mapping

from ttsw.profiles.schema import Profile

Key = tuple[str, ...]


def to_settings(profile: Profile, devices: Iterable[str]) -> Mapping[Key, object]:
    """Give what a profile sets in the configuration.

    Args:
        profile: The profile.
        devices: The devices that it is for: `cuda:0`.
    """
    derived = profile.derived
    manager: dict[Key, object] = {
        ("memory_headroom_mb",): derived.headroom_mb,
        ("resident_cap",): derived.resident_cap,
        ("mixed_sessions",): derived.mixed_sessions,
        **{("memory_budget_mb", device): derived.budget_mb for device in devices},
        **{("max_sessions", model_id): count for model_id, count in derived.sessions.items()},
    }
    return {("model_manager", *key): value for key, value in manager.items()}
