"""That nothing from elsewhere reaches a terminal as anything but text, by whichever way it is shown."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

import ttsw.cli
from ttsw.cli.models import _table
from ttsw.cli.ui.console import SafeConsole, write_json
from ttsw.cli.workers import _shown
from ttsw.fronts.abi.generated.tts import ModelInfo
from ttsw.registry.discovery import Fault, Listing
from ttsw.registry.record import WorkerRecord
from ttsw.system.terminal import is_safe

HOSTILE = "al\u202eot\x1b[2J\x9b1A\u200b\r\u2028\x07"
STYLES = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A|\r")
"""What rich itself writes: colours, and a bar's movements."""


def table(text):
    made = Table(escape(text), "b")
    made.add_row("a", escape(text))
    return made


def listing(text):
    record = WorkerRecord(text, f"grpc://{text}:1", {"state": text}, (text,), {}, 1.0)
    return _shown(Listing((record,), (Fault(text, text),), 1.0))


def models(text):
    metadata = {"state": text, "license": text, "last_error": text}
    return _table([ModelInfo(model_id=text, family=text, languages=[text], metadata=metadata)])


WAYS = {
    "markup": lambda text: f"[red]{escape(text)}[/]",
    "text": Text,
    "table": table,
    "group": lambda text: Group(Text(text), escape(text)),
    "panel": lambda text: Panel(escape(text), title=escape(text)),
    "workers": listing,
    "models": models,
}


@pytest.mark.parametrize("way", WAYS)
@given(text=st.just(HOSTILE) | st.text(st.characters(), max_size=20))
def test_whatever_is_printed_is_safe(way, text):
    console = SafeConsole(width=60, force_terminal=True, color_system="standard", emoji=False)
    with console.capture() as capture:
        console.print(WAYS[way](text))
    assert is_safe(re.sub(r"\x1b\[[0-9;]*m", "", capture.get()), "\n")


@pytest.mark.parametrize("live", [True, False])
def test_what_goes_on_is_safe(live, tmp_path):
    with (tmp_path / "shown").open("w+", encoding="utf-8") as file:
        console = SafeConsole(width=80, force_terminal=True, file=file)
        if live:
            with Live(console=console, auto_refresh=False) as shown:
                shown.update(table(HOSTILE), refresh=True)
        else:
            with Progress(TextColumn("{task.description}"), console=console, auto_refresh=False) as bars:
                bars.add_task(escape(HOSTILE))
                bars.refresh()
        file.seek(0)
        text = file.read()
    assert r"al\u202eo" in text
    assert is_safe(STYLES.sub("", text), "\n")


def test_a_table_keeps_its_columns():
    console = SafeConsole(width=60)
    made = Table("name", "x", box=None)
    made.add_row("al\u202eot", "1")
    made.add_row("alto", "2")
    with console.capture() as capture:
        console.print(made)
    assert capture.get().splitlines()[1:] == [r" al\u202eot  1 ", " alto        2 "]


def test_json_on_stdout_is_safe_and_says_the_same(capsys):
    write_json({"name": HOSTILE, "voice": "ä"})
    said = capsys.readouterr().out
    assert json.loads(said) == {"name": HOSTILE, "voice": "ä"}
    assert is_safe(said, "\n")
    assert "ä" in said


def test_the_command_line_has_no_other_way_to_print():
    for path in Path(ttsw.cli.__file__).parent.rglob("*.py"):
        if path.name != "console.py":
            source = path.read_text()
            assert not re.search(r"\bConsole\(|json\.dumps\(|(?<![.\w])print\(", source), path.name
