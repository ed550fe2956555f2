"""Routes of the experiments whose reports are on this machine."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.responses import FileResponse

from api.http.experiments import PICTURE, ExperimentList, find_picture, list_experiments
from api.http.problems import ApiProblem, document
from api.http.routes.common import READERS, ShellDep, make_router
from federated.experiments.kinds import Profile

router = make_router("/v1/experiments", "experiments")
_GUARDS = document("unauthorized", "forbidden", "rate_limited", "invalid_request")


@router.get("", summary="What was measured on this machine", responses=_GUARDS)
@READERS
def view_experiments(shell: ShellDep) -> ExperimentList:
    """Reports of `zkpot experiment`: findings, tables, conditions and names of pictures."""
    folder = shell.experiments
    return ExperimentList(experiments=[]) if folder is None else list_experiments(folder)


@router.get(
    "/{profile}/{file}",
    summary="A picture of a report",
    response_class=FileResponse,
    responses={**_GUARDS, **document("not_found"), 200: {"content": {"image/png": {}}}},
)
@READERS
def view_picture(
    profile: Profile, file: Annotated[str, Path(pattern=PICTURE)], shell: ShellDep
) -> FileResponse:
    folder = shell.experiments
    found = None if folder is None else find_picture(folder, profile, file)
    if found is None:
        raise ApiProblem("not_found", "no report on this machine shows such a picture")
    return FileResponse(found, media_type="image/png")
