"""A contribution to a ceremony, over HTTP: waits, downloads, verifies, computes and uploads.

    work/circuit.json, ceremony.transcript, first.key, state-N.key   the ceremony, as it was given
    work/state-M.key, contribution.record   one's own, M = N + 1
    work/ticket.json                        id and token, for the owner's eyes
    work/contributor                        says that all of it may be replaced

Shares are in memory, and nowhere else. A command that was interrupted goes on in its folder: with
the ticket while it is good, with files as far as they came, and with what was computed.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.ceremony.checking import MAX_RECORD_BYTES
from api.ceremony.queue import ACTIVE, Stage
from api.ceremony.remote import CeremonyServer, Update
from api.ceremony.schemas import CeremonyView, TicketView
from api.client.http import ServiceRefused
from api.console.ceremony.folder import FIRST_NAME, CeremonyFolder, name_state
from api.console.ceremony.holding import holding
from api.console.ceremony.making import go_on
from api.errors import ServiceGone, TurnLost
from kernels.files import PRIVATE, write_whole
from prover.ceremony.own.check import require_chain
from prover.ceremony.own.contribute import Origin
from prover.ceremony.own.record import Contribution, Transcript
from prover.ceremony.own.state import open_state
from prover.errors import FormatError, ProverError
from prover.keys.folder import CARD_NAME, TRANSCRIPT_NAME

if TYPE_CHECKING:
    from kernels.backend import Backend
    from prover.progress import StageProgress

RECORD_NAME, TICKET_NAME, MARK_NAME = "contribution.record", "ticket.json", "contributor"
MIN_POLL_S, MAX_POLL_S = 0.5, 30.0
_ATTEMPTS = 3


@contextmanager
def taking(work: Path) -> Iterator[None]:
    """A folder to contribute in, made if need be; this process's meanwhile.

    Raises FileExistsError for one that holds other things, PermissionError for one that others may
    change: what they put there in place of what was computed would be handed in, of shares that
    they know. FolderBusy, OSError.
    """
    work.mkdir(parents=True, exist_ok=True)
    found = work.stat()
    if found.st_uid != os.getuid() or found.st_mode & stat.S_IWOTH:
        raise PermissionError(errno.EPERM, "Others can write there: give a new one", str(work))
    with holding(work):
        mark = work / MARK_NAME
        if not mark.exists():
            if any(work.iterdir()):
                raise FileExistsError(errno.EEXIST, "Holds other files: give a new one", str(work))
            write_whole(mark, [])
        for scratch in work.glob(".*.partial"):  # of a process that was killed (`kernels.files`)
            scratch.unlink(missing_ok=True)
        yield


class Contributor:
    """One contribution at one server. Raises TurnLost, and what it is made of."""

    def __init__(
        self,
        server: CeremonyServer,
        work: Path,
        origin: Origin,
        device: Backend,
        *,
        say: Callable[[str], None],
        show_moved: Callable[[], AbstractContextManager[Update]],
        show_computed: Callable[[], AbstractContextManager[StageProgress]],
    ) -> None:
        """say : lines for people; show_moved, show_computed : bars of transfers, of computations"""
        self._server, self._work, self._origin, self._device = server, work, origin, device
        self._say, self._show_moved, self._show_computed = say, show_moved, show_computed

    def run(self) -> Transcript:
        """The transcript behind the contribution, which the server accepted."""
        view = self._server.describe()
        self._fetch(view, (CARD_NAME, FIRST_NAME))  # they stay what they are, whoever contributes
        ticket_id, token = self._take_ticket()
        try:
            return self._use(ticket_id, token)
        except ServiceRefused:
            self._drop_ticket()
            raise
        except ServiceGone:
            raise  # with the ticket the next attempt may go on
        except BaseException:  # nobody waits for who has gone
            self._server.leave(ticket_id, token)
            self._drop_ticket()
            raise

    def _use(self, ticket_id: str, token: str) -> Transcript:
        standing = self._wait(ticket_id, token, Stage.WAITING)
        after = None
        for _ in range(_ATTEMPTS):
            if standing.stage is Stage.WORKING:
                self._say("it is your turn")
                after = self._make(ticket_id, token)
                standing = self._send(ticket_id, token, after)
            if standing.stage is Stage.CHECKING:
                self._say("uploaded; the server verifies it")
                standing = self._wait(ticket_id, token, Stage.CHECKING)
            if standing.stage is not Stage.WORKING:  # else the server lost it, by a disk or a kill
                break
        if standing.stage is not Stage.ACCEPTED:
            why = f": {standing.detail}" if standing.detail else ""
            raise TurnLost(f"the ticket is {standing.stage.value}{why}; run the command again")
        after = after or self._read_own()
        if after is None or standing.detail != after.place.hex():
            raise TurnLost("the server has accepted another contribution than this one")
        self._drop_ticket()
        (self._work / RECORD_NAME).unlink(missing_ok=True)
        return after

    def _send(self, ticket_id: str, token: str, after: Transcript) -> TicketView:
        """Uploads the state behind the contribution, and hands the contribution in."""
        own = self._work / name_state(len(after.contributions))
        with self._show_moved() as update:
            self._server.upload(ticket_id, token, own, update)
        return self._server.hand_in(ticket_id, token, after.contributions[-1].encode())

    # -- waiting -----------------------------------------------------------------------------------

    def _wait(self, ticket_id: str, token: str, stage: Stage) -> TicketView:
        """The ticket when it has left this stage; says what changes meanwhile."""
        said = ""
        while True:
            standing = self._server.see(ticket_id, token)
            if standing.stage is not stage:
                return standing
            line = _describe_wait(standing)
            if stage is Stage.WAITING and line != said:
                self._say(line)
                said = line
            self._server.sleep(min(MAX_POLL_S, max(MIN_POLL_S, standing.poll_s)))

    # -- the contribution --------------------------------------------------------------------------

    def _make(self, ticket_id: str, token: str) -> Transcript:
        """Brings the ceremony as it is in this turn, and contributes to it; not twice."""
        view = self._server.describe()
        n = len(view.contributions)
        kept = (name_state(n), f"{name_state(n)}.part", name_state(n + 1))
        for path in self._work.glob("state-*.key*"):  # of turns that are over
            if path.name not in kept:
                path.unlink()
        self._fetch(view, (TRANSCRIPT_NAME, name_state(n)), (ticket_id, token))
        after = self._read_own()
        if after is None:
            ceremony = CeremonyFolder.load(self._work)
            with self._show_computed() as progress:
                out = ceremony.next_state
                after = go_on(ceremony, self._origin, out, self._device, progress)
            record = after.contributions[-1].encode()
            write_whole(self._work / RECORD_NAME, [record])
        self._say(f"place {n + 1}, behind your contribution: {after.place.hex()}")
        return after

    def _fetch(
        self, view: CeremonyView, names: Sequence[str], ticket: tuple[str, str] | None = None
    ) -> None:
        with self._show_moved() as update:
            for name in names:
                self._server.download(view, name, self._work, update, ticket)

    def _read_own(self) -> Transcript | None:
        """The transcript with what was computed before; None unless it is right at this place."""
        try:
            with (self._work / RECORD_NAME).open("rb") as file:
                one = Contribution.parse(file.read(MAX_RECORD_BYTES + 1))
            transcript = CeremonyFolder.load(self._work).transcript
            after = transcript.behind(one)
            require_chain(after, self._device)
            open_state(self._work / name_state(len(after.contributions)), after.state)
        except (ProverError, OSError):
            return None
        return after if one.change.label == self._origin.name else None

    # -- the ticket --------------------------------------------------------------------------------

    def _take_ticket(self) -> tuple[str, str]:
        """That of this folder while it is good, or a new one."""
        path = self._work / TICKET_NAME
        held = _read_ticket(path, self._origin.name)
        if held is not None:
            with suppress(ServiceRefused):
                if self._server.see(*held).stage in (*ACTIVE, Stage.ACCEPTED):
                    return held
        joined = self._server.join(self._origin.name)
        value = {"id": joined.ticket.id, "token": joined.token, "name": self._origin.name}
        write_whole(path, [json.dumps(value).encode("ascii")], mode=PRIVATE)
        return joined.ticket.id, joined.token

    def _drop_ticket(self) -> None:
        (self._work / TICKET_NAME).unlink(missing_ok=True)


def fetch_ceremony(server: CeremonyServer, folder: Path, update: Update) -> None:
    """Brings a ceremony as it is now to a folder; again where it goes on meanwhile."""
    for left in reversed(range(_ATTEMPTS)):
        view = server.describe()
        try:
            for name in (CARD_NAME, FIRST_NAME, TRANSCRIPT_NAME, name_last(view)):
                server.download(view, name, folder, update)
            return
        except (ServiceRefused, FormatError):
            if not left or server.describe().place == view.place:
                raise


def name_last(view: CeremonyView) -> str:
    """The file of the last state."""
    return name_state(len(view.contributions))


def _describe_wait(standing: TicketView) -> str:
    wait = "" if standing.wait_s is None else f", about {max(1, round(standing.wait_s / 60))} min"
    return f"{standing.n_ahead} before you{wait}"


def _read_ticket(path: Path, name: str) -> tuple[str, str] | None:
    """Id and token; None where there are none of this name."""
    try:
        with path.open("rb") as file:
            value: Any = json.loads(file.read(1 << 10))
        return (str(value["id"]), str(value["token"])) if value["name"] == name else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
