"""What every route needs of the process: the workbench, opened once."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends
from starlette.requests import Request

from core.workbench import Workbench


async def _workbench(request: Request) -> Workbench:
    return cast(Workbench, request.app.state.get_workbench())


OpenWorkbench = Annotated[Workbench, Depends(_workbench)]
