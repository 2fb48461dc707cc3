"""What every route needs of the process and of its caller: the workbench, opened once, and whose eyes it asks with."""

from __future__ import annotations

from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends
from starlette.requests import HTTPConnection

from core.domain import NOBODY, PROCESS, Reader
from core.workbench import Workbench


async def _workbench(connection: HTTPConnection) -> Workbench:
    return cast(Workbench, connection.app.state.get_workbench())


async def _reader() -> Reader:
    return PROCESS


async def _owner() -> UUID:
    return NOBODY


OpenWorkbench = Annotated[Workbench, Depends(_workbench)]
ReaderOf = Annotated[Reader, Depends(_reader)]
"""Whose eyes the store is asked with."""
OwnerOf = Annotated[UUID, Depends(_owner)]
"""Whose the recordings are that this caller sends."""
