"""Find what was handed in: folders, notebooks, and zip files as an LMS exports them; nothing is unpacked to disk.

Whose a notebook is, is read from its place, in this order:

    Canvas       doejane_LATE_4711_98765_00_start_here-2.ipynb      name, user, file; -2 is the second attempt
    Moodle       Jane Doe_4711_assignsubmission_file_/….ipynb       (or the same as the beginning of a file's name)
    a folder     jane/….ipynb, at any depth                         the first folder below what was given
    a file       jane.ipynb, jane_00_start_here.ipynb               the name, without a lesson's

Which lesson it is, its cells tell (`labsupport.grading.assemble.Pristine.likeness`).
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from labsupport.errors import LearnerError

CANVAS = re.compile(r"(?P<name>[^_/]+)(?P<late>_LATE)?_(?P<id>\d+)_\d+_(?P<file>[^/]+)")
MOODLE = re.compile(r"(?P<name>[^/]+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)_?/?(?P<file>.*)")
ATTEMPT = re.compile(r"(?: ?\((\d+)\)|-(\d+))?\.ipynb$")
SKIPPED = ("__MACOSX", ".ipynb_checkpoints", ".git")
LARGEST_ZIP = 4_000_000_000  # bytes of all that is in one zip; a class of a hundred has some hundred MB
LARGEST_FILE = 200_000_000


@dataclasses.dataclass(frozen=True)
class Submission:
    """One notebook of one learner.

    Args:
        learner: the name to show; unique in a class together with `id`.
        id: the LMS's number of the learner, or "".
        late: whether the LMS says so.
        attempt: the latest one of a learner counts.
        path: the file, or the zip file that has it.
        members: the names inside of that zip, and of one inside of it.
    """

    learner: str
    id: str
    late: bool
    attempt: tuple[int, float]
    path: str
    members: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's own name, for messages."""
        return _shown(PurePosixPath(self.members[-1] if self.members else self.path).name)

    def data(self) -> bytes:
        """The file's bytes.

        Raises:
            OSError: they cannot be read; says why.
        """
        return _bytes_of(self.path, self.members)


def find(places: Sequence[str]) -> tuple[list[Submission], list[str]]:
    """All notebooks in these folders, zip files and files, and a line for everything that was passed over.

    Raises:
        LearnerError: a place does not exist.
    """
    found: list[Submission] = []
    problems: list[str] = []
    for place in places:
        path = Path(place)
        if path.is_dir():
            for name in sorted(_files(path)):
                found += _one(path.joinpath(name), name, problems)
        elif path.exists():
            found += _one(path, path.name, problems)
        else:
            raise LearnerError(f"there is no file or folder {place}", do="name what was handed in")
    return found, problems


def _files(folder: Path) -> Iterator[str]:
    for here, names, files in os.walk(folder):
        names[:] = [name for name in names if name not in SKIPPED]
        for name in files:
            yield Path(here, name).relative_to(folder).as_posix()


def _one(path: Path, name: str, problems: list[str]) -> Iterator[Submission]:
    """The notebooks in one file, whose name below the place that was given is `name`."""
    name = _shown(name)
    if path.is_symlink() or not path.is_file():
        problems.append(f"{name}: not a plain file, passed over")
    elif path.suffix == ".ipynb":
        yield _submission(name, path.stat().st_mtime, str(path), ())
    elif path.suffix == ".zip":
        yield from _zipped(str(path), (), "" if "/" not in name else str(PurePosixPath(name).parent), problems)


def _zipped(path: str, members: tuple[str, ...], prefix: str, problems: list[str]) -> Iterator[Submission]:
    shown = _shown("/".join((PurePosixPath(path).name, *members)))
    try:
        archive = zipfile.ZipFile(io.BytesIO(_bytes_of(path, members)) if members else path)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        problems.append(f"{shown}: not a zip file that can be read ({error})")
        return
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if sum(entry.file_size for entry in entries) > LARGEST_ZIP:
            problems.append(f"{shown}: more than {LARGEST_ZIP // 10**9} GB when unpacked, passed over")
            return
        for entry in entries:
            parts = PurePosixPath(entry.filename).parts
            if any(part in SKIPPED for part in parts):
                continue
            name = _shown("/".join([*filter(None, [prefix]), *(part for part in parts if part not in ("/", ".."))]))
            if entry.filename.endswith(".ipynb"):
                when = sum(value * 100**place for place, value in enumerate(reversed(entry.date_time)))
                yield _submission(name, float(when), path, (*members, entry.filename))
            elif entry.filename.endswith(".zip") and not members:
                yield from _zipped(path, (entry.filename,), name.removesuffix(".zip"), problems)


def _shown(name: str) -> str:
    """A file's name on one line that can be written as UTF-8; on Linux a name may be any bytes."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _submission(name: str, when: float, path: str, members: tuple[str, ...]) -> Submission:
    number = ATTEMPT.search(name)
    attempt = (int((number and (number[1] or number[2])) or 0), when)
    canvas = CANVAS.fullmatch(PurePosixPath(name).name)
    for part in name.split("/"):
        if moodle := MOODLE.fullmatch(part):
            return Submission(moodle["name"], moodle["id"], False, attempt, path, members)
    if canvas:
        return Submission(canvas["name"], canvas["id"], bool(canvas["late"]), attempt, path, members)
    folder, _, _ = name.rpartition("/")
    learner = folder.split("/")[0] if folder else ATTEMPT.sub("", name)
    return Submission(learner or "(no name)", "", False, attempt, path, members)


def _bytes_of(path: str, members: Sequence[str]) -> bytes:
    """A file's bytes, or those of a member of a zip file, or of a zip file in it."""
    if not members:
        if os.path.getsize(path) > LARGEST_FILE:
            raise OSError(f"it has {os.path.getsize(path) / 1e6:.0f} MB")
        return Path(path).read_bytes()
    *outer, last = members
    try:
        with zipfile.ZipFile(io.BytesIO(_bytes_of(path, outer)) if outer else path) as archive:
            if archive.getinfo(last).file_size > LARGEST_FILE:
                raise OSError(f"it has {archive.getinfo(last).file_size / 1e6:.0f} MB")
            with archive.open(last) as stream:
                return stream.read(LARGEST_FILE)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise OSError(f"it cannot be read from its zip file ({error})") from None
