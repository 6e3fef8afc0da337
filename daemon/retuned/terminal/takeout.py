"""Commands that take models out of a running daemon, bring them in, or fit them once more."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

from retuned.api import api_of, path_of, who
from retuned.errors import ConfigError, PermanentError
from retuned.words.recipes import recipe_in_words

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

FITS_S = 4 * 3600.0
"""Fitting all members of a large model once more takes as long as it takes."""


def export(args: Namespace) -> None:
    """Write a revision with its card into a folder, which must not hold anything yet.

    Raises:
        RetunedError: nobody answers, or the model cannot leave in that form.
    """
    model, number, revision = named(args.model)
    folder: Path = args.to
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        message = f"{folder} is there already: name a folder that is empty or new"
        raise ConfigError(message)
    which = ("champion",) if number is None else ("versions", number)
    with api_of(args) as api:
        path = path_of(model, *which, "artifact")
        name, data = api.download(path, format=args.format, revision=revision)
    _unpack(data, folder)
    told = name.removesuffix(f"-{args.format}.zip").removeprefix(f"{model}-")
    print(f"{model} {told} is in {folder}; {folder / 'MODEL_CARD.md'} tells what it is.")


def bring(args: Namespace) -> None:
    """Let the daemon check a skops file and keep it as a version.

    Raises:
        RetunedError: nobody answers, or the file cannot serve there.
    """
    try:
        data = args.file.read_bytes()
    except OSError as error:
        message = f"{args.file} cannot be read: {error.strerror}"
        raise ConfigError(message) from error
    with api_of(args) as api:
        found = api.upload(path_of(args.model, "versions"), data, who=who(), reason=args.reason)
    print(
        f"{args.model}: {args.file} is version {found['name']}; it answered the newest "
        f"{found['rows']:,} rows, and is not the champion."
    )


def reproduce(args: Namespace) -> bool:
    """Tell whether a revision comes out the same, to the last bit, when it is fitted once more.

    Raises:
        RetunedError: nobody answers, or there is no such revision.
    """
    model, number, revision = named(args.model)
    if number is None:
        message = f"name a version: {model}@VERSION, as 'retuned versions {model}' lists them"
        raise ConfigError(message)
    with api_of(args) as api:
        path = path_of(model, "versions", number, "reproduce")
        found = api.post(path, {}, wait_s=FITS_S, revision=revision)
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        _tell(found)
    return bool(found["finding"] == "identical")


def named(text: str) -> tuple[str, int | None, int | None]:
    """A model, and the version and revision where they are named: ``bikes@3.2``.

    Raises:
        ConfigError: it is not of that form.
    """
    model, at, version = text.partition("@")
    number, dot, revision = version.partition(".")
    is_sound = number.isdecimal() and (revision.isdecimal() if dot else True)
    if not model or (at and not is_sound):
        message = f"{text!r} names no version: write MODEL, MODEL@VERSION or MODEL@VERSION.REVISION"
        raise ConfigError(message)
    return model, int(number) if at else None, int(revision) if dot else None


def _tell(found: dict[str, Any]) -> None:
    words = {
        "identical": "comes out identical",
        "different": "comes out different",
        "rows-gone": "cannot be reproduced: rows are no longer kept",
        "unknown": "cannot be reproduced",
    }
    print(f"{found['model']} {found['name']} {words[found['finding']]}.")
    for member in found["members"]:
        print(
            f"member {member['member'] + 1} ({recipe_in_words(member['recipe'])}): {member['why']}"
        )
    for name, versions in found["libraries"].items():
        print(f"{name} was {versions['then']} then and is {versions['now']} now")


def _unpack(data: bytes, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Names that lead out of the folder are cut down by extract.
            archive.extractall(folder)
    except (OSError, zipfile.BadZipFile) as error:
        message = f"the model cannot be written to {folder}: {error}"
        raise PermanentError(message) from error
