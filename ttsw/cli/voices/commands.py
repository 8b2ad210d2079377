"""`ttsw voices`: which voice packs there are, whether they are good, and how to add, download and remove them."""

import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ttsw.cli.ui.console import err, out, write_json
from ttsw.cli.ui.progress import open_bar
from ttsw.cli.voices.calibrate import calibrate
from ttsw.cli.voices.check import check_pack
from ttsw.cli.voices.clone import clips, clone, unclone
from ttsw.cli.voices.pack_list import PackList, PackState, open_packs
from ttsw.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from ttsw.packs.download import Download, Downloader
from ttsw.packs.install.installer import PackInstaller
from ttsw.packs.reader import PackError, read_status
from ttsw.packs.removal import remove_pack
from ttsw.packs.status import PackStatus, size_text
from ttsw.types import VoicePack

voices_app = typer.Typer(help="Voice packs, and recordings to clone voices from.", no_args_is_help=True)
voices_app.command()(calibrate)
for clip_command in (clone, clips, unclone):
    voices_app.command()(clip_command)

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")]
_NAMES = {
    "model_id": "model",
    "size_bytes": "size",
    "vram_mb": "memory, MB",
    "sample_rate": "rate, Hz",
    "license": "licence",
}
_COLOURS = {
    PackState.USABLE: "green",
    PackState.TO_DOWNLOAD: "cyan",
    PackState.INCOMPLETE: "yellow",
    PackState.BROKEN: "red",
}


@voices_app.command("list")
def list_packs(
    config: Config = None, as_json: Annotated[bool, typer.Option("--json", help="Write a JSON list.")] = False
) -> None:
    """List the voice packs, shipped and your own, with the faults of broken ones."""
    packs = open_packs(config)
    rows = [packs.describe(model_id) for model_id in sorted({*packs.catalogue.packs, *packs.catalogue.broken})]
    if as_json:
        write_json(rows)
        return
    table = Table("model", "family", "languages", "rate", "size", "licence", "state", "from", box=None)
    for row in rows:
        colour = _COLOURS[PackState(row["state"])]
        state = f"[{colour}]{row['state']}[/]"
        table.add_row(*map(escape, _cells(row)), state, row["from"])
    out.print(table)
    for row in rows:
        if row["fault"]:
            out.print(f"[{_COLOURS[PackState(row['state'])]}]{row['state']}:[/] {escape(row['fault'])}", soft_wrap=True)


def _cells(row: Mapping[str, Any]) -> list[str]:
    if "languages" not in row:
        return [row["model_id"], row["family"], "", "", "", ""]
    languages = row["languages"]
    return [
        row["model_id"],
        row["family"],
        ", ".join(languages) if len(languages) <= 4 else f"{', '.join(languages[:4])}, … ({len(languages)})",
        f"{row['sample_rate'] / 1000:g} kHz",
        size_text(row["size_bytes"]) if row["size_bytes"] else "",
        shorten(row["license"].partition(": http")[0], 45, placeholder=" …"),
    ]


@voices_app.command()
def show(model_id: str, config: Config = None) -> None:
    """Show details of one voice pack."""
    table = Table(box=None, show_header=False)
    for name, value in open_packs(config).describe(model_id).items():
        if value not in ("", [], {}):
            table.add_row(_NAMES.get(name, name.replace("_", " ")), escape(_told(name, value)))
    out.print(table)


def _told(name: str, value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return size_text(float(str(value))) if name == "size_bytes" else str(value)


@voices_app.command()
def check(
    targets: Annotated[list[str] | None, typer.Argument(metavar="[ID|PATH]…", help="Packs; none means all.")] = None,
    no_load: Annotated[bool, typer.Option("--no-load", help="Check the files only.")] = False,
    config: Config = None,
) -> None:
    """Check packs: metadata, checksums, and a spoken sentence; exit with 1 if one is broken."""
    packs = open_packs(config)
    named = targets or sorted({*packs.catalogue.packs, *packs.catalogue.broken})
    good = [_check(packs, target, load=not no_load, must_be_whole=bool(targets)) for target in named]
    if not all(good):
        raise typer.Exit(1)


def _check(packs: PackList, target: str, *, load: bool, must_be_whole: bool) -> bool:
    """Check a pack and say how it is; one that only lacks files is no fault unless it was asked for."""
    name = target
    try:
        draft, fault = _find(packs, target)
    except PackError as error:
        draft, fault = None, str(error)
    if draft is None:
        good, said = False, f"broken: {fault}"
    elif draft.missing:
        name, good, said = draft.pack.model_id, not must_be_whole, f"incomplete: {draft.fault}"
    else:
        name = draft.pack.model_id
        good, said = _check_whole(packs, draft.pack, load=load)
    out.print(f"{escape(name)}: {escape(said)}", soft_wrap=True)
    return good


def _check_whole(packs: PackList, pack: VoicePack, *, load: bool) -> tuple[bool, str]:
    try:
        base = packs.catalogue.base(pack)
    except (NotFoundError, PackError) as error:
        return False, f"broken: it is based on {pack.base}: {error}"
    return check_pack(pack, base, load=load)


def _find(packs: PackList, target: str) -> tuple[PackStatus | None, str]:
    """Find a pack by its id or by its folder."""
    known = target in packs.catalogue.packs or target in packs.catalogue.broken
    if not known and ("/" in target or Path(target).is_dir()):
        if not Path(target).is_dir():
            raise NotFoundError(f"there is no folder {target}")
        return read_status(Path(target).resolve(), packs.store), ""
    return packs.draft(target), packs.catalogue.broken.get(target, "")


@voices_app.command()
def add(
    path: Annotated[
        Path, typer.Argument(help="Folder of a voice pack or of a fine-tuned CSM, or the .onnx file of a Piper voice.")
    ],
    name: Annotated[str, typer.Option("--id", metavar="NAME", help="Its name; by default its own.")] = "",
    move: Annotated[bool, typer.Option("--move", help="Move the files instead of copying them.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing pack.")] = False,
    licence: Annotated[str, typer.Option("--license", help="Licence of a voice without metadata.")] = "unknown",
    base: Annotated[str, typer.Option("--base", metavar="ID", help="The model that a LoRA is based on.")] = "",
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not load it and speak a sentence.")] = False,
    config: Config = None,
) -> None:
    """Add a voice pack to your own folder."""
    packs = open_packs(config)
    with open_bar(f"copying {path.name}") as progress:
        adder = PackInstaller(packs.own, packs.store, name, move, replace, licence, base, progress)
        draft = adder.add(path)
    model_id = draft.pack.model_id
    out.print(f"{model_id}: added as {escape(str(draft.pack.root))}", soft_wrap=True)
    if model_id in packs.catalogue.folders and packs.origin(model_id) == "shipped":
        err.print(f"it is used in the place of the shipped pack {model_id}", soft_wrap=True)
    packs.reader.refresh()
    if draft.missing:
        err.print(escape(draft.fault), soft_wrap=True)
    elif not no_check and not _check(packs, model_id, load=True, must_be_whole=True):
        err.print(f"it stays where it is; ttsw voices remove {model_id} takes it away", soft_wrap=True)
        raise typer.Exit(1)


@voices_app.command()
def pull(
    model_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]…", help="Packs.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All packs that lack files.")] = False,
    config: Config = None,
) -> None:
    """Download missing files of voice packs; resumes interrupted downloads."""
    packs = open_packs(config)
    if bool(model_ids) == everything:
        raise InvalidArgumentError("name the voice packs to download, or give --all; ttsw voices list shows them")
    for model_id in model_ids or sorted(key for key, draft in packs.catalogue.incomplete.items() if draft.downloads):
        draft = packs.draft(model_id)
        if draft is None:
            raise PackError(packs.catalogue.broken[model_id])
        try:
            _pull(packs, draft)
        except KeyboardInterrupt:
            err.print(
                f"stopped; what has come is kept, and ttsw voices pull {model_id} goes on from there", soft_wrap=True
            )
            raise typer.Exit(130) from None
        packs.reader.refresh()
        packs.catalogue[model_id]
        out.print(f"{model_id}: usable")


def _pull(packs: PackList, draft: PackStatus) -> None:
    if draft.downloads:
        err.print(f"{draft.pack.model_id}: licence: {escape(draft.pack.license or 'unknown')}", soft_wrap=True)
    for one in draft.downloads:
        wanted = Download(str(one.origin.url), str(one.origin.sha256), one.origin.bytes or 0, one.role)
        if not err.is_terminal:
            err.print(f"downloading {wanted.name} ({size_text(wanted.size)}) from {escape(wanted.url)}", soft_wrap=True)
        with open_bar(f"downloading {wanted.name}", wanted.size) as progress:
            Downloader(packs.store, progress, lambda sentence: err.print(escape(sentence), soft_wrap=True)).pull(wanted)


@voices_app.command()
def remove(
    model_id: str,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    config: Config = None,
) -> None:
    """Remove a voice pack from your own folder, with files downloaded only for it."""
    packs = open_packs(config)
    packs.draft(model_id)
    folder = packs.catalogue.folders.get(model_id)
    if folder is None:
        raise FailedPreconditionError(packs.catalogue.broken[model_id])
    if packs.origin(model_id) != "own":
        raise FailedPreconditionError(f"{model_id} is shipped with ttsw; only packs in {packs.own} can be removed")
    if not yes:
        if not sys.stdin.isatty():
            raise InvalidArgumentError(f"nobody is there to be asked whether to remove {folder}; give --yes")
        typer.confirm(f"Remove {folder}?", abort=True, err=True)
    drafts = [packs.draft(other) for other in {*packs.catalogue.packs, *packs.catalogue.incomplete} - {model_id}]
    freed = remove_pack(
        folder, packs.store, [sha256 for draft in drafts if draft for sha256 in draft.pack.checksums.values()]
    )
    downloads = f", with {size_text(freed)} that were downloaded for it" if freed else ""
    out.print(f"{model_id}: removed{downloads}", soft_wrap=True)
