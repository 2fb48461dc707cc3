"""Recordings: the sound itself, for players."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access import OpenWorkbench, ReaderOf
from api.routes_predictions import refusals
from core.errors import UnknownRecordingError
from core.features.containers import Container
from core.store.recordings import select_recording

router = APIRouter(prefix="/api/v1", tags=["recordings"])

MEDIA_TYPES: Mapping[str, str] = {
    Container.WAV: "audio/wav",
    Container.FLAC: "audio/flac",
    Container.MP3: "audio/mpeg",
    Container.ADTS: "audio/aac",
    Container.OGG: "audio/ogg",
    Container.MP4: "audio/mp4",
    Container.WEBM: "audio/webm",
}
ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@router.get(
    "/recordings/{recording_id}/audio",
    summary="Play a recording",
    response_class=Response,
    response_description="The bytes as they were sent.",
    responses={
        200: {"content": {"audio/*": {}}},
        206: {"description": "The part asked for by `Range`, as players do when seeking.", "content": {"audio/*": {}}},
        304: {"description": "Unchanged since the ETag the sender has."},
        416: {"description": "The part asked for lies beyond the end."},
        **refusals(404, 422, 503),
    },
)
def play_recording(recording_id: UUID, request: Request, workbench: OpenWorkbench, reader: ReaderOf) -> Response:
    """The recording as it was sent, whole or in parts."""
    recording = select_recording(workbench.store, recording_id=recording_id, reader=reader)
    if recording is None:
        raise UnknownRecordingError(recording_id)
    headers = {
        "ETag": f'"{recording.sha256}"',
        "Cache-Control": "private, max-age=3600, immutable",
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(recording.name, safe='')}",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    data = workbench.recording_files.read(recording.sha256)
    media_type = MEDIA_TYPES.get(recording.format.container, "application/octet-stream")
    asked = _range(request.headers.get("range", ""), len(data))
    if asked is None:
        return Response(data, media_type=media_type, headers=headers)
    start, end = asked
    if start >= end:
        return Response(status_code=416, headers=headers | {"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Response(data[start:end], status_code=206, media_type=media_type, headers=headers)


@router.delete(
    "/recordings/{recording_id}",
    summary="Delete a recording",
    status_code=204,
    response_class=Response,
    response_description="It is gone, with its sound and every prediction about it.",
    responses=refusals(403, 404, 422, 503),
)
def delete_recording(recording_id: UUID, workbench: OpenWorkbench, reader: ReaderOf) -> Response:
    """Deletes one of your own recordings, all predictions about it, and its sound unless somebody else sent the same.

    Models that learned from it are marked: `GET /api/v1/models` counts their deleted recordings.
    """
    workbench.delete_recording(recording_id, reader=reader)
    return Response(status_code=204)


def _range(header: str, n_bytes: int) -> tuple[int, int] | None:
    """The half-open range of bytes that a `Range` header asks for (RFC 9110, section 14.1.2).

    None for the whole: no header, several ranges, or one that cannot be read, which the RFC lets a server ignore.
    """
    found = ONE_RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return max(n_bytes - int(last), 0), n_bytes
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, n_bytes) if last else n_bytes
