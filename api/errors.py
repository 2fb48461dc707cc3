"""From errors to RFC 9457 problem+json: the one table of classes, statuses and titles, and what is sent of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.schemas import ParameterProblem, Problem
from core import errors

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:telepathy:problem:"
"""RFC 9457 wants a URI that names the kind of problem; a URN promises no page that a closed network could not load."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """What all problems of one kind share."""

    status: int
    code: str
    title: str


def _of(error: type[errors.TelepathyError], status: int, title: str) -> tuple[type, ProblemKind]:
    return error, ProblemKind(status=status, code=error.code, title=title)


KINDS: Mapping[type[errors.TelepathyError], ProblemKind] = dict(
    [
        _of(errors.TelepathyError, 500, "The request cannot be answered"),
        _of(errors.AudioError, 422, "The recording cannot be used"),
        _of(errors.UnsupportedFormatError, 415, "Not a recording that can be read"),
        _of(errors.UnsupportedSamplingError, 422, "Too many channels, or a sample rate out of reach"),
        _of(errors.EmptyAudioError, 422, "The recording is empty"),
        _of(errors.DamagedAudioError, 422, "The recording is damaged"),
        _of(errors.ClipTooShortError, 422, "The recording is too short"),
        _of(errors.RecordingTooLongError, 422, "The recording is too long"),
        _of(errors.UploadTooLargeError, 413, "The upload is too large"),
        _of(errors.InvalidSamplesError, 422, "The recording holds samples that are not numbers"),
        _of(errors.SilentAudioError, 422, "The recording is silent"),
        _of(errors.ClippedAudioError, 422, "The recording is clipped throughout"),
        _of(errors.DecodeTimeoutError, 422, "The recording takes too long to decode"),
        _of(errors.ModelError, 503, "The recogniser cannot answer"),
        _of(errors.ModelNotFoundError, 404, "No such model"),
        _of(errors.FeatureMismatchError, 500, "The model does not fit this version"),
        _of(errors.DamagedModelError, 503, "The model's files cannot be read"),
        _of(errors.SurrogateNotFoundError, 404, "The model has no surrogate"),
        _of(errors.SurrogateMismatchError, 503, "The surrogate is of another version of the model"),
        _of(errors.DamagedReferencesError, 503, "The reference voices cannot be read"),
        _of(errors.EncoderMissingError, 503, "The model's encoder is not installed"),
        _of(errors.UnknownDataSetError, 404, "No such data set"),
        _of(errors.CustomTrainingFailedError, 422, "No model could be made"),
        _of(errors.OtherLabelsError, 409, "The model says other labels"),
        _of(errors.GateNotPassedError, 409, "The gate does not let the model pass"),
        _of(errors.NothingToRollBackError, 409, "No model was deployed before"),
        _of(errors.ModelNameTakenError, 409, "The name is taken"),
        _of(errors.RetrainingFailedError, 422, "No new model was made"),
        _of(errors.StoreError, 503, "The store cannot answer"),
        _of(errors.UnknownRecordingError, 404, "No such recording"),
        _of(errors.UnknownPredictionError, 404, "No such prediction"),
        _of(errors.UnknownWebhookError, 404, "No such webhook"),
        _of(errors.UnknownDeliveryError, 404, "No such delivery"),
        _of(errors.MigrationError, 503, "The store is not up to date"),
        _of(errors.SettingError, 500, "The configuration is wrong"),
        _of(errors.UnknownSettingError, 500, "No such setting"),
        _of(errors.InvalidSettingError, 500, "A setting is out of place"),
        _of(errors.RequestError, 400, "The request is impossible"),
        _of(errors.InvalidParameterError, 422, "A parameter is out of place"),
        _of(errors.BodyTooLargeError, 413, "The body is too long"),
        _of(errors.TooFewRecordingsError, 422, "Too few recordings to compare with"),
        _of(errors.AddressRefusedError, 422, "An address that is not connected to"),
        _of(errors.ReportTooLargeError, 422, "The report is too large"),
        _of(errors.UnknownScheduleError, 404, "No such scheduled report"),
        _of(errors.SourceNotAllowedError, 422, "Not fetched from there"),
        _of(errors.SourceError, 422, "The recording cannot be fetched"),
        _of(errors.ArchiveError, 422, "The archive cannot be unpacked"),
        _of(errors.IdempotencyKeyReusedError, 422, "The key belongs to another request"),
        _of(errors.IdempotencyKeyBusyError, 409, "Still being answered"),
        _of(errors.BusyError, 503, "Too much to do at the moment"),
        _of(errors.ShuttingDownError, 503, "Shutting down"),
        _of(errors.AccessError, 403, "Not allowed"),
        _of(errors.NotSignedInError, 401, "Who asks is not known"),
        _of(errors.InvalidCredentialsError, 401, "Not the right credentials"),
        _of(errors.ForbiddenError, 403, "Not allowed"),
        _of(errors.CrossSiteError, 403, "Requests from other sites are refused"),
        _of(errors.RateLimitedError, 429, "Too many calls"),
        _of(errors.QuotaExceededError, 429, "The month's allowance is used up"),
        _of(errors.InvalidLinkError, 403, "The link is not valid"),
        _of(errors.WeakPasswordError, 422, "The password is too weak"),
        _of(errors.AddressTakenError, 409, "The address has an account"),
        _of(errors.LastAdminError, 409, "The last admin stays"),
        _of(errors.UnknownUserError, 404, "No such account"),
        _of(errors.UnknownKeyError, 404, "No such API key"),
        _of(errors.UnknownProjectError, 404, "No such project"),
        _of(errors.LabellingError, 422, "Cannot be labelled"),
        _of(errors.NotLabelledError, 409, "Not set up to be labelled"),
        _of(errors.UnknownAssignmentError, 404, "No such clip"),
        _of(errors.AnswerHiddenError, 409, "Rate it first"),
        _of(errors.LabelsFileError, 422, "The file holds no ratings"),
        _of(errors.ConsentNeededError, 403, "Consent is needed first"),
        _of(errors.PurposeRefusedError, 403, "A prohibited purpose"),
        _of(errors.SecretError, 503, "Something encrypted cannot be read"),
        _of(errors.JobError, 500, "The job cannot be done"),
        _of(errors.JobsNotRunningError, 503, "Nothing works on jobs"),
        _of(errors.UnknownJobError, 404, "No such job"),
        _of(errors.NothingScoredError, 422, "Nothing scored"),
        _of(errors.JobStateError, 409, "Not in this state"),
        _of(errors.UnknownBatchError, 404, "No such batch"),
        _of(errors.DeliveryError, 503, "The message was not delivered"),
        _of(errors.MailError, 503, "The mail was not sent"),
        _of(errors.WebhookError, 503, "The webhook did not take it"),
    ]
)
"""Every class of the tree stands here itself (tested): what a new error answers is decided, not inherited by chance."""

HTTP_KINDS: Mapping[int, ProblemKind] = {
    kind.status: kind
    for kind in (
        ProblemKind(status=400, code="bad_request", title="The request cannot be read"),
        ProblemKind(status=404, code="not_found", title="Nothing at this address"),
        ProblemKind(status=405, code="method_not_allowed", title="Not with this method"),
        ProblemKind(status=408, code="upload_stalled", title="The upload stalled"),
        ProblemKind(status=415, code="unsupported_media_type", title="Not a form with files"),
        ProblemKind(status=426, code="upgrade_required", title="An address for WebSockets"),
        ProblemKind(status=500, code="internal_error", title="Something went wrong here"),
    )
}
"""What HTTP itself can refuse, before or beside Telepathy."""

NOT_READY = ProblemKind(status=503, code="not_ready", title="Not ready to answer")
NO_JSON = "The body is no JSON."
INVALID_PARAMETER = KINDS[errors.InvalidParameterError]


def kind_of(error: errors.TelepathyError) -> ProblemKind:
    """The row of the table for `error`; a class the table lacks answers as its nearest base."""
    return next(KINDS[base] for base in type(error).__mro__ if base in KINDS)


def problem(kind: ProblemKind, detail: str, *, instance: str, request_id: str | None = None) -> Problem:
    """A problem of `kind` about the resource at `instance`."""
    return Problem(
        type=TYPE_PREFIX + kind.code,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=instance,
        code=kind.code,
        request_id=request_id,
    )


def problem_response(request: Request, body: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as application/problem+json, with the identifier of `request` in it; its code is left for the metrics."""
    request.scope.setdefault("state", {})["problem_code"] = body.code
    body = body.model_copy(update={"request_id": request.scope.get("state", {}).get("request_id")})
    return JSONResponse(
        body.model_dump(mode="json", exclude_none=True), body.status, dict(headers or {}), media_type=MEDIA_TYPE
    )


def error_response(request: Request, error: errors.TelepathyError) -> Response:
    """The answer to `request` that `error` stands for."""
    kind = kind_of(error)
    headers: dict[str, str] = {}
    if isinstance(error, errors.BusyError | errors.RateLimitedError | errors.QuotaExceededError):
        headers["Retry-After"] = str(error.retry_after_s)
    elif kind.status >= 500:
        log.error("request failed", code=kind.code, detail=str(error), exc_info=error)
    if kind.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="telepathy"'
    if isinstance(error, errors.ShuttingDownError | errors.UploadTooLargeError | errors.BodyTooLargeError):
        headers["Connection"] = "close"  # the rest of a body that nobody wants would have to be read otherwise
    return problem_response(request, problem(kind, str(error), instance=request.scope["path"]), headers)


async def answer_telepathy_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.TelepathyError)
    return error_response(request, error)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"], request.method
    kind = HTTP_KINDS.get(error.status_code) or ProblemKind(
        status=error.status_code, code=f"http_{error.status_code}", title=error.detail
    )
    allowed = (error.headers or {}).get("Allow", "")
    detail = {
        404: f"There is nothing at {path}. /api/docs lists what there is.",
        405: f"{method} is not possible at {path}; use {allowed}.",
    }.get(error.status_code, error.detail)
    return problem_response(request, problem(kind, detail, instance=path), error.headers)


async def answer_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if any(entry["type"] == "json_invalid" for entry in error.errors()):
        return problem_response(request, problem(HTTP_KINDS[400], NO_JSON, instance=request.scope["path"]))
    found = [_invalid_parameter(entry["loc"], entry["msg"], entry["type"], entry["input"]) for entry in error.errors()]
    body = problem(INVALID_PARAMETER, str(found[0]), instance=request.scope["path"])
    parameters = [ParameterProblem(parameter=each.name, detail=str(each)) for each in found]
    return problem_response(request, body.model_copy(update={"errors": parameters}))


def _invalid_parameter(
    location: tuple[int | str, ...], message: str, kind: str, value: object
) -> errors.InvalidParameterError:
    """pydantic's finding in the words of Telepathy: what was found, and what it must be."""
    name = ".".join(part for part in location if isinstance(part, str) and part not in {"query", "body", "path"})
    if any(secret in name for secret in ("password", "token")):
        value = "a secret"
    if kind == "missing":
        return errors.InvalidParameterError(name, "missing", "given")
    if kind == "extra_forbidden":
        return errors.InvalidParameterError(name, "not known here", "left out")
    if size := _SIZE.match(message):
        return errors.InvalidParameterError(name, repr(value)[:80], f"{_SIZED[size[1]]} of {size[2]}")
    expected = _EXPECTED.get(kind) or message.removeprefix("Value error, ").removeprefix("Input should be ")
    return errors.InvalidParameterError(name, repr(value)[:80], expected)


_SIZE = re.compile(r"(List|String) should have (at (?:least|most) \d+ \w+)")
_SIZED = {"List": "a list", "String": "a text"}
_MOMENT = "a date and time with time zone, such as 2026-01-05T09:30:00Z"
_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "uuid_parsing": "a UUID",
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "timezone_aware": _MOMENT,
    "string_pattern_mismatch": "a text without NUL characters",
}
"""What must be given, by pydantic's kind of error, where its own words are about parsing or Python's types."""


def add_error_answers(api: FastAPI) -> None:
    """Answer every refusal of `api` as problem+json; what no handler knows is left to the middleware."""
    api.add_exception_handler(errors.TelepathyError, answer_telepathy_error)
    api.add_exception_handler(HTTPException, answer_http_exception)
    api.add_exception_handler(RequestValidationError, answer_invalid_request)
