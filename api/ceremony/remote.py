"""A ceremony that is served elsewhere, as a contributor sees it: over connections that break.

Nothing that the server says is believed: files are verified as those of a folder that somebody
handed on. Its answers are bounded here, and the names of files are ours.
"""

from __future__ import annotations

import base64
import errno
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from api.ceremony.routes import CHUNK_TYPE, TUS_VERSION
from api.ceremony.schemas import MAX_CHUNK_BYTES, CeremonyView, FileView, Joined, TicketView
from api.client.http import OCTETS, PATIENCE_S, ServiceRefused, read_refusal
from api.errors import ServiceGone
from kernels.files import move_whole
from prover.errors import FormatError

Update = Callable[[str, int, int], None]
_PATH = "/v1/ceremony"
_A = TypeVar("_A", bound=BaseModel)
_MAX_ANSWER_BYTES = 1 << 22
_PIECE = 1 << 24
"""Of a download, whose begin shows the server that a turn goes on."""
FIRST_PATIENCE_S = 10.0
_RETRY_S, _MAX_RETRY_S = 1.0, 60.0
_HEADERS = (b"retry-after", b"upload-offset")
"""Those that are looked at; none that says how to unpack what follows."""
_PASSING = {408, 429, 500, 502, 503, 504}
_TRY_AGAIN = "run the command again"


class _Broke(Exception):
    """A connection that broke, or an answer to wait for a while."""

    def __init__(self, cause: Exception, wait_s: float = _RETRY_S) -> None:
        self.cause, self.wait_s = cause, wait_s
        super().__init__(str(cause))


class CeremonyServer:
    """Calls of one server. Raises ServiceRefused, ServiceGone; FormatError for what is no answer of
    such a server.
    """

    def __init__(
        self,
        http: httpx2.Client,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """http : as `api.client.http.connect` makes it, with the key of who may join"""
        self._http, self.sleep, self._clock = http, sleep, clock
        self._moved_at, self._has_answered = clock(), False

    def describe(self) -> CeremonyView:
        return self._ask("GET", _PATH, CeremonyView)

    def join(self, name: str) -> Joined:
        """A ticket, and its token."""
        return self._ask("POST", f"{_PATH}/tickets", Joined, json={"name": name})

    def see(self, ticket_id: str, token: str) -> TicketView:
        path = f"{_PATH}/tickets/{ticket_id}"
        return self._ask("GET", path, TicketView, headers=_show(token))

    def leave(self, ticket_id: str, token: str) -> None:
        """Gives a ticket up, which ends by itself where the server does not hear it."""
        with suppress(_Broke, ServiceRefused, FormatError):
            self._try("DELETE", f"{_PATH}/tickets/{ticket_id}", headers=_show(token))

    def hand_in(self, ticket_id: str, token: str, record: bytes) -> TicketView:
        """The contribution to the state that was uploaded."""
        return self._ask(
            "POST",
            f"{_PATH}/tickets/{ticket_id}/contribution",
            TicketView,
            content=record,
            headers=_show(token) | {"Content-Type": OCTETS},
        )

    # -- files -------------------------------------------------------------------------------------

    def download(
        self,
        view: CeremonyView,
        name: str,
        folder: Path,
        update: Update,
        ticket: tuple[str, str] | None = None,
    ) -> None:
        """Brings a file, or what is missing of it, to the folder; none that is there already.

        ticket : id and token, whose turn goes on by this
        raises : FormatError for another file than the server names; OSError
        """
        file = next((one for one in view.files if one.name == name), None)
        if file is None:
            raise _bad(f"the server has no {name}")
        path, part = folder / name, folder / f"{name}.part"
        if path.exists() and _is_file(path, file):
            return
        offset = part.stat().st_size if part.exists() else 0
        if file.n_bytes - offset > shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        with part.open("ab") as stream:
            if offset > file.n_bytes:
                stream.truncate(0)
            self._patiently(lambda: self._fill(stream, file, update, ticket))
        if _is_file(part, file):
            move_whole(part, path)
            return
        part.unlink()
        if not 0 < offset <= file.n_bytes:
            raise _bad(f"{name} is not what the server says that it is")
        self.download(view, name, folder, update, ticket)  # what was there was of another file

    def _fill(
        self, stream: Any, file: FileView, update: Update, ticket: tuple[str, str] | None
    ) -> bool:
        """Asks for the next piece, if there is one; how far it came is the length of the file."""
        offset = stream.seek(0, os.SEEK_END)
        update(file.name, offset, file.n_bytes)
        if offset == file.n_bytes:
            return False
        start, stop = offset, min(offset + _PIECE, file.n_bytes)
        headers = {"Range": f"bytes={offset}-{stop - 1}", "If-Range": f'"{file.sha256}"'}
        if ticket is not None:
            headers |= _show(ticket[1])
        query = {} if ticket is None else {"ticket": ticket[0]}
        path = f"{_PATH}/files/{file.name}"
        try:
            with self._http.stream("GET", path, params=query, headers=_plain(headers)) as answer:
                if not answer.is_success:
                    raise self._refusal(answer)
                told = answer.headers.get("Content-Range", "")
                if not told.startswith(f"bytes {offset}-"):
                    raise _bad(f"the server gives no ranges of {file.name}")
                for piece in answer.iter_raw():
                    if offset + len(piece) > stop:
                        raise _bad(f"{file.name} is longer than the server says")
                    stream.write(piece)
                    offset += len(piece)
                    self._moved_at = self._clock()
                    update(file.name, offset, file.n_bytes)
        except httpx2.HTTPError as error:
            raise _Broke(error) from error
        if offset == start:  # or who answers so would be asked again for ever, without a pause
            raise _Broke(_bad(f"the server sends nothing of {file.name}"))
        return True

    def upload(self, ticket_id: str, token: str, path: Path, update: Update) -> None:
        """Sends a file, or what is missing of it."""
        n_bytes = path.stat().st_size
        with path.open("rb") as stream:
            self._patiently(lambda: self._put(ticket_id, token, stream, n_bytes, update))

    def _put(self, ticket_id: str, token: str, stream: Any, n_bytes: int, update: Update) -> bool:
        """Sends what is missing, from where the server says."""
        path = f"{_PATH}/tickets/{ticket_id}/upload"
        headers = _show(token) | {"Tus-Resumable": TUS_VERSION}
        offset = _read_offset(self._try("HEAD", path, headers=headers), n_bytes)
        while offset < n_bytes:
            update("upload", offset, n_bytes)
            stream.seek(offset)
            chunk = stream.read(MAX_CHUNK_BYTES)
            digest = base64.b64encode(sha256(chunk).digest()).decode("ascii")
            more = {
                "Content-Type": CHUNK_TYPE,
                "Upload-Offset": str(offset),
                "Upload-Checksum": f"sha256 {digest}",
            }
            try:
                answer = self._try("PATCH", path, headers=headers | more, content=chunk)
            except ServiceRefused as refused:
                if refused.problem.code not in ("offset_mismatch", "checksum_mismatch"):
                    raise
                raise _Broke(refused) from refused
            if (found := _read_offset(answer, n_bytes)) <= offset:
                raise _bad("the server does not take what is uploaded")
            offset = found
            self._moved_at = self._clock()
        update("upload", n_bytes, n_bytes)
        return False

    # -- calls -------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, answer: type[_A], **options: Any) -> _A:
        got = self._send(method, path, **options)
        try:
            return answer.model_validate_json(got.content)
        except ValidationError:
            raise _bad("the answer is none of a ceremony's server") from None

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """A call, again while it fails in passing."""
        found: list[httpx2.Response] = []

        def call() -> bool:
            found.append(self._try(method, path, **options))
            return False

        self._patiently(call)
        return found[-1]

    def _try(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """A call, once. Raises _Broke, ServiceRefused."""
        headers = _plain(options.pop("headers", {}))
        try:
            with self._http.stream(method, path, headers=headers, **options) as answer:
                self._has_answered = True
                if not answer.is_success:
                    raise self._refusal(answer)
                return _read_whole(answer)
        except httpx2.HTTPError as error:
            raise _Broke(error) from error

    def _refusal(self, answer: httpx2.Response) -> Exception:
        refused = read_refusal(_read_whole(answer))
        if answer.status_code not in _PASSING:
            return refused
        return _Broke(refused, min(_MAX_RETRY_S, refused.retry_after_s or _RETRY_S))

    def _patiently(self, step: Callable[[], bool]) -> None:
        """Repeats a step: while it fails in passing, and while it says that more is to be done.

        Raises what it failed by, when nothing has moved for PATIENCE_S, or FIRST_PATIENCE_S where
        no server has answered yet: the URL may be a wrong one.
        """
        self._moved_at = self._clock()
        while True:
            try:
                while step():
                    self._moved_at = self._clock()
                return
            except _Broke as broke:
                silence_s = self._clock() - self._moved_at
                if silence_s > (PATIENCE_S if self._has_answered else FIRST_PATIENCE_S):
                    if isinstance(broke.cause, ServiceRefused):
                        raise broke.cause from None
                    raise ServiceGone(silence_s, _TRY_AGAIN) from broke.cause
                self.sleep(broke.wait_s)


def _show(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _plain(headers: dict[str, str]) -> dict[str, str]:
    return {"Accept-Encoding": "identity", **headers}


def _read_whole(answer: httpx2.Response) -> httpx2.Response:
    """The answer with its content, which is bounded."""
    raw = bytearray()
    for piece in answer.iter_raw():
        raw += piece
        if len(raw) > _MAX_ANSWER_BYTES:
            raise _bad("the answer is too long")
    kept = [(name, value) for name, value in answer.headers.raw if name.lower() in _HEADERS]
    return httpx2.Response(answer.status_code, headers=kept, content=bytes(raw))


def _read_offset(answer: httpx2.Response, n_bytes: int) -> int:
    text = answer.headers.get("Upload-Offset", "")
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= n_bytes):
        raise _bad("the server does not say how far the upload came")
    return int(text)


def _is_file(path: Path, file: FileView) -> bool:
    if path.stat().st_size != file.n_bytes:
        return False
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest() == file.sha256


def _bad(what: str) -> FormatError:
    return FormatError(what, where="server", next_step="try again, or ask who runs the ceremony")
