"""`ttsw voices clone`, `clips` and `unclone`: recordings by name, for families that clone a voice from one."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ttsw.adapters.reference_clip import read_clip
from ttsw.adapters.reference_lookup import MOST_TRANSCRIPT, find_transcript
from ttsw.cli.ui.console import err, out, write_json
from ttsw.errors import InvalidArgumentError, NotFoundError
from ttsw.packs.reference_audio import add_clip, clips_dir, find_clips, place, remove_clip

Name = Annotated[str, typer.Argument(help="The clip's name.")]


def clone(
    name: Annotated[str, typer.Argument(help="Name for it: lower-case letters, digits and hyphens.")],
    file: Annotated[Path, typer.Argument(help="Recording of a voice: 1 to 60 s, preferably 6 s or more.")],
    transcript: Annotated[
        str, typer.Option("--transcript", "-t", metavar="TEXT", help="Transcript of the recording, word for word.")
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing clip.")] = False,
) -> None:
    """Register a recording under a name, for models that clone voices."""
    folder = clips_dir(os.environ)
    place(folder, name)
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}")
    recording = read_clip(file)
    said = transcript or find_transcript(file) or ""
    if len(said.encode(errors="replace")) > MOST_TRANSCRIPT:
        raise InvalidArgumentError(f"the transcript is longer than any recording's: {MOST_TRANSCRIPT} bytes")
    clip = add_clip(folder, name, recording.samples, recording.rate, " ".join(said.split()), replace=replace)
    out.print(
        f"{name}: {clip.seconds:.1f} s at {clip.rate} Hz, {clip.rms_dbfs:.1f} dBFS RMS, in {escape(str(clip.path))}",
        soft_wrap=True,
    )
    for caution in clip.cautions():
        err.print(f"[yellow]caution:[/] {caution}", soft_wrap=True)
    if not clip.transcript:
        err.print(
            "what is said in it isn't known (--transcript): XTTS needs no transcript, CosyVoice 2 is better with one, "
            "CSM needs one",
            soft_wrap=True,
        )
    err.print(
        f'models that clone speak with it: ttsw say --model xtts-v2-… -O reference_audio={name} "…"', soft_wrap=True
    )


def clips(as_json: Annotated[bool, typer.Option("--json", help="Write a JSON list.")] = False) -> None:
    """List the registered recordings."""
    found, faults = find_clips(clips_dir(os.environ))
    if as_json:
        rows = [asdict(clip) | {"cautions": clip.cautions()} for clip in found]
        write_json(rows)
        return
    table = Table("name", "length", "rate", "level", "registered", "transcript", box=None)
    for clip in found:
        when = clip.date.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(
            clip.name,
            f"{clip.seconds:.1f} s",
            f"{clip.rate} Hz",
            f"{clip.rms_dbfs:.1f} dBFS",
            when,
            escape(clip.transcript),
        )
    if found:
        out.print(table)
    elif not faults:
        err.print("no recordings are registered; ttsw voices clone NAME FILE registers one", soft_wrap=True)
    for name, fault in faults.items():
        err.print(f"[red]broken:[/] {escape(name)}: {escape(fault)}", soft_wrap=True)


def unclone(name: Name) -> None:
    """Remove a registered recording."""
    remove_clip(clips_dir(os.environ), name)
    out.print(f"{escape(name)}: removed")
