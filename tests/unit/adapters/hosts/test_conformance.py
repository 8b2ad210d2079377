"""Every family keeps the contract in a process of its own as it does in threads."""

import pytest

from ttsw.config import load_config, shipped_dir
from ttsw.packs.catalogue import read_catalogue
from ttsw.placement import open_placement
from ttsw.testing import check_adapter

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model_id", ["mock-440hz", "hibari-heart", "piper-en-us-joe-medium"])
@pytest.mark.parametrize("host", ["thread", "process"])
async def test_every_family_passes_in_both_hosts(model_id, host, tmp_path):
    pack = read_catalogue(shipped_dir("voicepacks"))[model_id]
    config = load_config(None, {}, {f"engines.{pack.family}.host": host, "model_manager.state_dir": str(tmp_path)})
    async with open_placement(config) as placement:
        await check_adapter(await placement.start_host(pack, placement.devices_for(pack)[0]))
