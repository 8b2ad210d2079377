"""The estimated profiles that are shipped: what the formula gives for each card and the shipped models for GPUs.

`python -m ttsw.profiles.estimated FOLDER` writes them; a test shows that those committed are these.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ttsw.config.shipped import shipped_dir
from ttsw.packs.metadata_file import METADATA, read_metadata
from ttsw.profiles.estimation import estimate, of_size
from ttsw.profiles.gpu_cards import CARDS
from ttsw.profiles.schema import ModelFacts, Profile
from ttsw.profiles.writer import write_profile

DATE = datetime(2026, 11, 22, tzinfo=UTC)
"""When formula and figures were last changed."""


def shipped_models() -> Mapping[str, ModelFacts]:
    """Give the shipped models that are made for a GPU, with the sizes that their packs state."""
    found = {}
    for path in sorted(shipped_dir("voicepacks").glob(f"*/*/{METADATA}")):
        pack = read_metadata(path)
        if pack.size.vram_mb and not pack.capabilities.cpu_ok:
            found[f"{pack.family}-{pack.model_id}"] = of_size(
                pack.family, pack.size.vram_mb, version=pack.version, base=pack.base or ""
            )
    return found


def estimated_profiles() -> list[Profile]:
    """Estimate the profiles that are shipped."""
    models = shipped_models()
    return [estimate(name, card, models, date=DATE) for name, card in CARDS.items()]


def write_all(folder: Path) -> None:
    """Write the estimated profiles."""
    for profile in estimated_profiles():
        write_profile(profile, folder / f"{profile.name}.yaml")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
