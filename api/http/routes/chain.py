"""Routes of the chain that this service follows: blocks, clients, leader, and new blocks live."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.http.auth import Caller
from api.http.chain.history import ChainHistory
from api.http.chain.schemas import BlockList, BlockView, ClientList, ClientView, LeaderView
from api.http.problems import ApiProblem, document
from api.http.routes.common import READERS, CallerDep, ShellDep, make_router

STREAM_S = 300.0
"""An event stream ends after this; the client resumes with Last-Event-ID."""
_WAIT_S = 1.0
_MAX_HEIGHT = 1 << 53

router = make_router("/v1", "chain")
_GUARDS = document("unauthorized", "forbidden", "rate_limited", "invalid_request", "not_found")

Height = Annotated[int, Path(ge=1, lt=_MAX_HEIGHT)]
ClientKey = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="Ed25519, hexadecimal")]


def get_chain(shell: ShellDep) -> ChainHistory:
    if shell.chain is None:
        raise ApiProblem("not_found", "this service follows no chain: ZKPOT_GENESIS names one")
    return shell.chain


Chain = Annotated[ChainHistory, Depends(get_chain)]


open_router = APIRouter(tags=["chain"])
"""Of what everyone may have, without a key."""


@open_router.get(
    "/genesis.json",
    summary="The genesis of the chain",
    response_class=Response,
    responses={**document("not_found"), 200: {"content": {"application/json": {}}}},
)
async def get_genesis(chain: Chain) -> Response:
    """The file that nodes and clients start from, byte by byte: compare its digest with what
    others tell you.
    """
    return Response(chain.genesis.encode(), media_type="application/json")


def hold_stream(shell: ShellDep, caller: CallerDep, _: Chain) -> Iterator[Caller]:
    """A place among the open streams, given back when the response has ended."""
    with shell.streams.hold(caller.name):
        yield caller


@router.get("/blocks", summary="Final blocks, newest first", responses=_GUARDS)
@READERS
def list_blocks(
    chain: Chain,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[int | None, Query(ge=1, lt=_MAX_HEIGHT)] = None,
) -> BlockList:
    """`before` is the `next` of an earlier answer."""
    return chain.list_blocks(limit=limit, before=before)


@router.get(
    "/blocks/events",
    summary="Follow the chain",
    response_class=EventSourceResponse,
    responses={**_GUARDS, **document("too_many_streams")},
)
@READERS
async def follow(
    chain: Chain,
    _: Annotated[Caller, Depends(hold_stream)],
    request: Request,
    last_event_id: Annotated[str, Header(pattern=r"^[0-9]{0,15}$")] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events of type `block`, their ids the heights; resumes behind `Last-Event-ID`."""
    height = int(last_event_id) if last_event_id else chain.height
    ends_at = time.monotonic() + STREAM_S
    while time.monotonic() < ends_at and not await request.is_disconnected():
        top = await to_thread.run_sync(chain.wait, height, _WAIT_S, abandon_on_cancel=True)
        while height < top:
            height = max(height + 1, chain.first)
            block = chain.get_block(height)
            if block is None:
                continue  # let go in this moment
            yield ServerSentEvent(id=str(height), event="block", data=block)


@router.get("/blocks/{height}", summary="One final block", responses=_GUARDS)
@READERS
def get_block(height: Height, chain: Chain) -> BlockView:
    found = chain.get_block(height)
    if found is None:
        shown = f"the chain has {chain.height} final blocks; shown are those from {chain.first} on"
        raise ApiProblem("not_found", shown)
    return found


@router.get("/clients", summary="All clients with their trails", responses=_GUARDS)
@READERS
def list_clients(chain: Chain) -> ClientList:
    return chain.list_clients()


@router.get("/clients/{client_key}", summary="A client's trail", responses=_GUARDS)
@READERS
def get_client(client_key: ClientKey, chain: Chain) -> ClientView:
    found = chain.get_client(client_key)
    if found is None:
        raise ApiProblem("not_found", "no client of this key has registered")
    return found


@router.get("/leader", summary="Who leads", responses=_GUARDS)
@READERS
def view_leader(chain: Chain) -> LeaderView:
    return chain.view_leader()
