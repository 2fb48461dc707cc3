"""The tree of errors a user can be told. Each class takes typed values and writes its own sentence.

TelepathyError
  AudioError                     the recording cannot be used
    UnsupportedFormatError         not audio, or of a kind that is not read
    UnsupportedSamplingError       too many channels, or too low or high a sample rate
    EmptyAudioError                no bytes, or no samples in them
    DamagedAudioError              looks like audio, but nothing of it can be decoded
    ClipTooShortError              shorter than the model can judge
    RecordingTooLongError          longer than the limit, or claims to be
    UploadTooLargeError            more bytes than the limit
    InvalidSamplesError            NaN or infinite samples
    SilentAudioError               digital or near silence
    ClippedAudioError              every sample at full scale
    DecodeTimeoutError             decoding took longer than the deadline
  ModelError                     the recogniser cannot answer
    ModelNotFoundError             no such model
    FeatureMismatchError           model and features disagree
    DamagedModelError              its files cannot be read
    SurrogateNotFoundError         nobody has made a surrogate of it
    SurrogateMismatchError         its surrogate imitates another version
    DamagedReferencesError         the voices to compare with cannot be read
    EncoderMissingError            the encoder that others publish is not installed
    GateNotPassedError             it may not take the place of the deployed model
    UnknownDataSetError            no such data set
    CustomTrainingFailedError      no model could be made of a data set
    OtherLabelsError               it says other labels than the deployed model
    NothingToRollBackError         no model was deployed before
    ModelNameTakenError            another model has this name
    RetrainingFailedError          no new model came of a retraining
  StoreError                     the store cannot answer
    UnknownRecordingError          no such recording
    UnknownPredictionError         no such prediction
    UnknownWebhookError            no such endpoint of webhooks
    UnknownDeliveryError           no such delivery of a webhook
    MigrationError                 the store's schema cannot be brought up to date
  SettingError                   the configuration is wrong
    UnknownSettingError            no such setting
    InvalidSettingError            a setting's value is out of place
  RequestError                   the caller asked for something impossible
    InvalidParameterError          a parameter's value is out of place
    BodyTooLargeError              a body without a recording is longer than any such
    TooFewRecordingsError          not enough recordings to say what is usual
    AddressRefusedError            the process does not connect to this address
    ReportTooLargeError            a report would list more predictions than the limit
    UnknownScheduleError           no such schedule of reports
    SourceNotAllowedError          recordings are not fetched from there
    SourceError                    a recording cannot be fetched
    ArchiveError                   a ZIP cannot be unpacked
    IdempotencyKeyReusedError      the same key came with another request
    IdempotencyKeyBusyError        the request with this key is still being answered
  BusyError                      too much to do; try again shortly
    ShuttingDownError              the process is about to stop
  AccessError                    the caller may not do this, or not now
    NotSignedInError               nobody has said who is asking
    InvalidCredentialsError        key, token or password are not right
    ForbiddenError                 known, but not allowed to do this
      CrossSiteError                 a page of another site sent this from somebody's browser
    RateLimitedError               too many calls in too short a time
    QuotaExceededError             the plan's allowance for this month is used up
    InvalidLinkError               a one-time link was used, has expired, or never was
    WeakPasswordError              too short, or too easily guessed
    AddressTakenError              another account has this e-mail address
    LastAdminError                 nobody would be left who can administer
    UnknownUserError               no such account
    UnknownKeyError                no such API key
    UnknownProjectError            no such project
    ConsentNeededError             nobody has agreed yet that voices are recorded
    PurposeRefusedError            the law forbids this purpose, and no exception is recorded
    SecretError                    something encrypted cannot be read
  JobError                       a job cannot be done, found or changed
    JobsNotRunningError            this process runs no jobs
    UnknownJobError                no such job
    JobStateError                  not while it is in this state
    NothingScoredError             every recording of a batch has a problem
    UnknownBatchError              no such batch
  LabellingError                 something about labelling cannot be done
    NotLabelledError               nobody has set up how this project is labelled
    UnknownAssignmentError         no such clip among an annotator's
    AnswerHiddenError              the model's answer about what somebody is to rate blind
    LabelsFileError                nothing of a file of ratings can be read
  DeliveryError                  a message did not get to where it was sent
    MailError                      the mail server did not take a message
    WebhookError                   the address of a webhook did not take a message
"""

from __future__ import annotations

from uuid import UUID


class TelepathyError(Exception):
    """Anything the user can be told: `str(error)` is a whole sentence for them."""

    code = "telepathy"
    """Stable, for programs; the same in every language and version."""


class AudioError(TelepathyError):
    """The recording cannot be used."""

    code = "audio"


FORMATS_READ = "WAV, FLAC, MP3, Ogg Vorbis, Opus, M4A/AAC or WebM"


class UnsupportedFormatError(AudioError):
    """The bytes are not audio of a kind that is read."""

    code = "unsupported_format"

    def __init__(self, found: str) -> None:
        super().__init__(f"This is {found}, not a recording that can be read. Use {FORMATS_READ}.")
        self.found = found


class UnsupportedSamplingError(AudioError):
    """Too many channels, or too low or high a sample rate."""

    code = "unsupported_sampling"

    def __init__(
        self, n_channels: int, sample_rate_hz: int, max_channels: int, sample_rates_hz: tuple[int, int]
    ) -> None:
        low, high = sample_rates_hz
        super().__init__(
            f"The recording has {n_channels} channels at {sample_rate_hz:,} Hz; 1 to {max_channels} channels at "
            f"{low:,} to {high:,} Hz can be read. Convert it to mono at 16,000 Hz."
        )
        self.n_channels = n_channels
        self.sample_rate_hz = sample_rate_hz


class EmptyAudioError(AudioError):
    """There are no bytes, or no samples in them."""

    code = "empty_audio"

    def __init__(self, what: str = "The file is empty (0 bytes)") -> None:
        super().__init__(f"{what}. Send a recording that holds sound.")


class DamagedAudioError(AudioError):
    """It looks like audio, but nothing of it can be decoded."""

    code = "damaged_audio"

    def __init__(self, container: str, reason: str) -> None:
        super().__init__(
            f"This looks like {container}, but none of it can be decoded ({reason}). "
            "Export the recording again from its source, or send it as WAV."
        )
        self.container = container


class ClipTooShortError(AudioError):
    """Shorter than the model can judge."""

    code = "clip_too_short"

    def __init__(self, duration_s: float, min_duration_s: float) -> None:
        super().__init__(
            f"The recording lasts {duration_s:.2f} s; at least {min_duration_s:g} s are needed. "
            "Send a longer stretch of speech; two seconds or more work best."
        )
        self.duration_s = duration_s
        self.min_duration_s = min_duration_s


class RecordingTooLongError(AudioError):
    """Longer than the limit, or claims to be."""

    code = "recording_too_long"

    def __init__(self, duration_s: float, max_duration_s: float) -> None:
        super().__init__(
            f"The recording lasts {duration_s:,.0f} s or says so; at most {max_duration_s:,.0f} s are accepted. "
            "Cut it into parts."
        )
        self.duration_s = duration_s
        self.max_duration_s = max_duration_s


class UploadTooLargeError(AudioError):
    """More bytes than the limit."""

    code = "upload_too_large"

    def __init__(self, size_bytes: int, max_upload_mb: float, what: str = "The file") -> None:
        super().__init__(
            f"{what} has {size_bytes / 1e6:.1f} MB; at most {max_upload_mb:g} MB are accepted. "
            "Send a shorter recording, or a compressed one (FLAC, MP3, Opus)."
        )
        self.size_bytes = size_bytes
        self.max_upload_mb = max_upload_mb


class InvalidSamplesError(AudioError):
    """NaN or infinite samples."""

    code = "invalid_samples"

    def __init__(self, n_invalid: int, n_samples: int) -> None:
        super().__init__(
            f"{n_invalid:,} of {n_samples:,} samples are not numbers (NaN or infinite). "
            "Export the recording again; valid samples lie within -1 and 1."
        )
        self.n_invalid = n_invalid


class SilentAudioError(AudioError):
    """Digital or near silence."""

    code = "silent_audio"

    def __init__(self, peak_dbfs: float) -> None:
        level = "digital silence" if peak_dbfs == float("-inf") else f"a peak of {peak_dbfs:.0f} dBFS"
        super().__init__(
            f"The recording is silent ({level}). Check that the microphone was on and not muted; "
            "speech peaks between -30 and -1 dBFS."
        )
        self.peak_dbfs = peak_dbfs


class ClippedAudioError(AudioError):
    """Every sample at full scale."""

    code = "clipped_audio"

    def __init__(self, clipping_share: float) -> None:
        super().__init__(
            f"{100 * clipping_share:.0f}\u00a0% of the recording is clipped (stuck at full scale), so no voice is "
            "left in it. Lower the recording level and record again."
        )
        self.clipping_share = clipping_share


class DecodeTimeoutError(AudioError):
    """Decoding took longer than the deadline."""

    code = "decode_timeout"

    def __init__(self, deadline_s: float) -> None:
        super().__init__(
            f"Decoding was given up after {deadline_s:g} s. Send the recording as WAV or FLAC, or a shorter part of it."
        )
        self.deadline_s = deadline_s


class ModelError(TelepathyError):
    """The recogniser cannot answer."""

    code = "model"


class ModelNotFoundError(ModelError):
    """No such model."""

    code = "model_not_found"

    def __init__(self, name: str, available: tuple[str, ...]) -> None:
        known = ", ".join(available) if available else "none; make one with `make model`"
        super().__init__(f"There is no model named {name!r}. Available: {known}.")
        self.name = name
        self.available = available


class FeatureMismatchError(ModelError):
    """Model and features disagree."""

    code = "feature_mismatch"

    def __init__(self, model: str, expected: str, found: str) -> None:
        super().__init__(
            f"Model {model!r} expects {expected}, but the features are {found}. Use a model made by this version."
        )


class DamagedModelError(ModelError):
    """A model's files cannot be read."""

    code = "damaged_model"

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"Model {model!r} cannot be used: {reason}. Restore its folder, or make it anew: `make model`."
        )


class SurrogateNotFoundError(ModelError):
    """Nobody has made a surrogate of it."""

    code = "surrogate_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"Model {model!r} has no surrogate, so its answers cannot be explained by acoustic features. "
            f"Make one: `python -m training surrogate --model {model}`."
        )
        self.model = model


class SurrogateMismatchError(ModelError):
    """A surrogate imitates another version of its model."""

    code = "surrogate_mismatch"

    def __init__(self, model: str, model_version: str, imitated_version: str) -> None:
        super().__init__(
            f"The surrogate of model {model!r} imitates version {imitated_version}, but the model is {model_version}. "
            f"Make it anew: `python -m training surrogate --model {model}`."
        )
        self.model = model
        self.model_version = model_version
        self.imitated_version = imitated_version


class DamagedReferencesError(ModelError):
    """The voices to compare with cannot be read."""

    code = "damaged_references"

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(
            f"The reference voices in {file} cannot be used: {reason}. "
            "Restore the file, or make it anew: `python -m training references`."
        )


class EncoderMissingError(ModelError):
    """The model's head stands here, the encoder that others publish does not."""

    code = "encoder_missing"
    command = "python -m training whisper install"
    """Installs it."""

    def __init__(self, model: str, encoder: str, reason: str = "is not installed") -> None:
        super().__init__(
            f"Model {model!r} needs the encoder {encoder}, which {reason}. Run `{self.command}` once, then ask again."
        )
        self.model = model
        self.encoder = encoder


class GateNotPassedError(ModelError):
    """It may not take the place of the deployed model."""

    code = "gate_not_passed"

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"Model {model!r} was not deployed: {reason}. To deploy it all the same, say why.")
        self.model = model


class UnknownDataSetError(ModelError):
    """There is no data set by this id that the caller may see."""

    code = "unknown_data_set"

    def __init__(self, data_set_id: UUID) -> None:
        super().__init__(f"There is no data set {data_set_id}. It may be somebody else's, or deleted.")
        self.data_set_id = data_set_id


class CustomTrainingFailedError(ModelError):
    """No model could be made of a data set."""

    code = "training_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(reason if reason.endswith(".") else f"No model was made: {reason}.")


class OtherLabelsError(ModelError):
    """It says other labels than the deployed model, so that it can neither take its place nor be compared with it."""

    code = "other_labels"

    def __init__(self, model: str, labels: tuple[str, ...], deployed: str, expected: tuple[str, ...]) -> None:
        super().__init__(
            f"Model {model!r} says {', '.join(labels)}, and {deployed!r}, which answers, says {', '.join(expected)}: "
            f"only a model of the same labels can take its place or listen beside it. "
            f"Ask for {model!r} by its name to have it answer."
        )
        self.model = model


class NothingToRollBackError(ModelError):
    """No model was deployed before."""

    code = "nothing_to_roll_back"

    def __init__(self) -> None:
        super().__init__("No other model was deployed before this one. Deploy one by its name instead.")


class ModelNameTakenError(ModelError):
    """Another model has this name."""

    code = "model_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a model named {name!r} already, or one is being made. Choose another name.")
        self.name = name


class RetrainingFailedError(ModelError):
    """No new model came of a retraining."""

    code = "retraining_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"No new model was made: {reason.rstrip('.')}.")


class StoreError(TelepathyError):
    """The store cannot answer."""

    code = "store"

    def __init__(self, doing: str, reason: str) -> None:
        super().__init__(
            f"The store failed while {doing}: {reason}. "
            "Check that its disk has room and that no other program holds it."
        )


class UnknownRecordingError(StoreError):
    """No such recording."""

    code = "unknown_recording"

    def __init__(self, recording_id: UUID | str) -> None:
        TelepathyError.__init__(self, f"There is no recording {recording_id}. It may have been deleted.")


class UnknownPredictionError(StoreError):
    """No such prediction."""

    code = "unknown_prediction"

    def __init__(self, prediction_id: UUID | str) -> None:
        TelepathyError.__init__(self, f"There is no prediction {prediction_id}. It may have been deleted.")


class UnknownWebhookError(StoreError):
    """No such endpoint of webhooks."""

    code = "unknown_webhook"

    def __init__(self, endpoint_id: UUID | str) -> None:
        TelepathyError.__init__(self, f"There is no webhook {endpoint_id}. It may have been deleted.")


class UnknownDeliveryError(StoreError):
    """No such delivery of a webhook."""

    code = "unknown_delivery"

    def __init__(self, delivery_id: UUID | str) -> None:
        TelepathyError.__init__(self, f"There is no delivery {delivery_id}. The log may not reach back so far.")


class MigrationError(StoreError):
    """The store's schema cannot be brought up to date."""

    code = "migration"

    def __init__(self, reason: str) -> None:
        TelepathyError.__init__(
            self,
            f"The store's schema could not be brought up to date: {reason}. "
            "Restore the store from a backup, or use the version of Telepathy that wrote it.",
        )


class SettingError(TelepathyError):
    """The configuration is wrong."""

    code = "setting"


class UnknownSettingError(SettingError):
    """No such setting."""

    code = "unknown_setting"

    def __init__(self, name: str, nearest: str) -> None:
        super().__init__(f"There is no setting {name!r}. Did you mean {nearest!r}? docs/settings.md lists them all.")


class InvalidSettingError(SettingError):
    """A setting's value is out of place."""

    code = "invalid_setting"

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(f"The setting {name!r} is {found}; it must be {expected}.")


class RequestError(TelepathyError):
    """The caller asked for something impossible."""

    code = "request"


class InvalidParameterError(RequestError):
    """A parameter's value is out of place."""

    code = "invalid_parameter"

    def __init__(self, name: str, found: str, expected: str) -> None:
        super().__init__(f"The parameter {name!r} is {found}; it must be {expected}.")
        self.name = name


class BodyTooLargeError(RequestError):
    """A body without a recording is longer than any such."""

    code = "body_too_large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(
            f"The body is longer than the {max_bytes:,} bytes that are read here. "
            "Leave out what is not asked for, or send several requests."
        )
        self.max_bytes = max_bytes


class TooFewRecordingsError(RequestError):
    """Not enough recordings to say what is usual."""

    code = "too_few_recordings"

    def __init__(self, n_recordings: int, n_needed: int) -> None:
        given = "1 recording was" if n_recordings == 1 else f"{n_recordings} recordings were"
        super().__init__(
            f"{given} given to compare with; at least {n_needed} are needed to say what is usual. "
            "Choose more recordings of this speaker, or compare with a corpus."
        )
        self.n_recordings = n_recordings
        self.n_needed = n_needed


class AddressRefusedError(RequestError):
    """The process does not connect to this address."""

    code = "address_refused"

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"Nothing is sent to {host}: {reason}.")


class ReportTooLargeError(RequestError):
    """A report would list more predictions than the limit."""

    code = "report_too_large"

    def __init__(self, n_predictions: int, max_rows: int) -> None:
        super().__init__(
            f"The report would list {n_predictions:,} predictions; at most {max_rows:,} go into one file. "
            "Narrow its period or its filters, or ask for PDF, which adds them up."
        )
        self.n_predictions = n_predictions


class UnknownScheduleError(RequestError):
    """No such schedule of reports."""

    code = "unknown_schedule"

    def __init__(self, schedule_id: UUID | str) -> None:
        super().__init__(f"There is no scheduled report {schedule_id}. It may have been deleted.")


class SourceNotAllowedError(RequestError):
    """Recordings are not fetched from there."""

    code = "source_not_allowed"

    def __init__(self, location: str, allowed: str) -> None:
        super().__init__(
            f"Recordings are not fetched from {location}: {allowed or 'the setting `batch_sources` allows nothing'}."
        )
        self.location = location


class SourceError(RequestError):
    """A recording cannot be fetched."""

    code = "source"

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(f"{location} cannot be fetched: {reason}.")
        self.location = location


class ArchiveError(RequestError):
    """A ZIP cannot be unpacked."""

    code = "archive"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The archive {name!r} cannot be unpacked: {reason}.")
        self.name = name


class IdempotencyKeyReusedError(RequestError):
    """The same key came with another request."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key came with another request before. Send the same request again, or another key."
        )


class IdempotencyKeyBusyError(RequestError):
    """The request with this key is still being answered."""

    code = "idempotency_key_busy"

    def __init__(self) -> None:
        super().__init__("The request with this Idempotency-Key is still being answered. Send it again in a moment.")


class BusyError(TelepathyError):
    """Too much to do; try again shortly."""

    code = "busy"

    def __init__(self, n_waiting: int, retry_after_s: int) -> None:
        super().__init__(
            f"{n_waiting} requests are already waiting for the recogniser. Try again in {retry_after_s} s."
        )
        self.n_waiting = n_waiting
        self.retry_after_s = retry_after_s


class ShuttingDownError(BusyError):
    """The process is about to stop."""

    code = "shutting_down"

    def __init__(self, retry_after_s: int = 10) -> None:
        TelepathyError.__init__(
            self, f"Telepathy is shutting down and takes no new requests. Try again in {retry_after_s} s."
        )
        self.n_waiting = 0
        self.retry_after_s = retry_after_s


class AccessError(TelepathyError):
    """The caller may not do this, or not now."""

    code = "access"


class NotSignedInError(AccessError):
    """Nobody has said who is asking."""

    code = "not_signed_in"

    def __init__(self) -> None:
        super().__init__(
            "This needs to know who asks. Send an API key as X-API-Key, a token as Authorization: Bearer, "
            "or sign in with a browser."
        )


class InvalidCredentialsError(AccessError):
    """Key, token or password are not right, or no longer.

    `is_guess` says whether it may be a guess: what was right once, and has ended since, is none.
    """

    code = "invalid_credentials"

    def __init__(
        self, sentence: str = "The e-mail address or the password is not right.", *, is_guess: bool = True
    ) -> None:
        super().__init__(sentence)
        self.is_guess = is_guess


class ForbiddenError(AccessError):
    """Known, but not allowed to do this."""

    code = "forbidden"

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)


class CrossSiteError(ForbiddenError):
    """A page of another site sent this from somebody's browser."""

    code = "cross_site_request"

    def __init__(self) -> None:
        super().__init__(
            "A page of another site sent this from a browser. Send it from a page of this site, or from a program "
            "with an API key."
        )


class RateLimitedError(AccessError):
    """Too many calls in too short a time."""

    code = "rate_limited"

    def __init__(self, limit: str, retry_after_s: int) -> None:
        super().__init__(f"More than {limit}. Try again in {retry_after_s} s.")
        self.limit = limit
        self.retry_after_s = retry_after_s
        self.headers: dict[str, str] = {}
        """How the caller's limits stand, in header fields, where they are known."""


class QuotaExceededError(AccessError):
    """The plan's allowance for this month is used up, or too little of it is left."""

    code = "quota_exceeded"

    def __init__(self, plan: str, allowance: str, retry_after_s: int, *, n_left: int = 0) -> None:
        left = f"only {n_left:,} of them {'is' if n_left == 1 else 'are'} left" if n_left else "they are used up"
        ask = "Ask for fewer at once, wait" if n_left else "Wait"
        super().__init__(
            f"The plan {plan!r} allows {allowance} a month, and {left}. "
            f"{ask} for the next month, or ask an admin for a larger plan."
        )
        self.plan = plan
        self.allowance = allowance
        self.retry_after_s = retry_after_s
        self.n_left = n_left
        self.headers: dict[str, str] = {}
        """How the caller's limits stand, in header fields."""


class InvalidLinkError(AccessError):
    """A one-time link was used, has expired, or never was."""

    code = "invalid_link"

    def __init__(self) -> None:
        super().__init__("This link was used already, has expired, or is not whole. Ask for a new one.")


class WeakPasswordError(AccessError):
    """Too short, or too easily guessed."""

    code = "weak_password"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The password {what}. Use at least 12 characters; several words that only you combine are best."
        )


class AddressTakenError(AccessError):
    """Another account has this e-mail address."""

    code = "address_taken"

    def __init__(self, email: str) -> None:
        super().__init__(f"There is an account for {email} already. Sign in, or reset its password.")
        self.email = email


class LastAdminError(AccessError):
    """Nobody would be left who can administer."""

    code = "last_admin"

    def __init__(self) -> None:
        super().__init__("This is the only admin. Make somebody else an admin first.")


class UnknownUserError(AccessError):
    """No such account."""

    code = "unknown_user"

    def __init__(self, user: UUID | str) -> None:
        super().__init__(f"There is no account {user}. It may have been deleted.")


class UnknownKeyError(AccessError):
    """No such API key."""

    code = "unknown_key"

    def __init__(self, key_id: UUID | str) -> None:
        super().__init__(f"There is no API key {key_id}. It may have been made by somebody else.")


class UnknownProjectError(AccessError):
    """No such project."""

    code = "unknown_project"

    def __init__(self, project: UUID | str) -> None:
        super().__init__(f"There is no project {project}, or it is not shared with you.")


class ConsentNeededError(AccessError):
    """Nobody has agreed yet that voices are recorded."""

    code = "consent_needed"

    def __init__(self, project: str) -> None:
        super().__init__(
            f"Before the first recording of {project}, read what happens to voices and agree. "
            "The pages ask for it; programs send `consent=true` once."
        )


class PurposeRefusedError(AccessError):
    """The law forbids this purpose, and no exception is recorded."""

    code = "purpose_refused"

    def __init__(self, purpose: str) -> None:
        super().__init__(
            f"Emotion inference for {purpose} is prohibited in the EU (AI Act, Article 5(1)(f)). "
            "Choose another purpose, or have an admin record the medical or safety reason that makes it lawful."
        )


class SecretError(AccessError):
    """Something encrypted cannot be read."""

    code = "secret"

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} cannot be decrypted: no key at hand fits. Give the key that it was written with as `secret_keys`."
        )


class JobError(TelepathyError):
    """A job cannot be done, found or changed."""

    code = "job"


class JobsNotRunningError(JobError):
    """Nothing runs jobs in this process, or it is about to end."""

    code = "jobs_not_running"

    def __init__(self) -> None:
        super().__init__("Nothing works on jobs here at the moment. Try again once the process has started.")


class UnknownJobError(JobError):
    """There is no job by this id that the caller may see."""

    code = "unknown_job"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"There is no job {job_id}. It may be somebody else's, or long done.")
        self.job_id = job_id


class JobStateError(JobError):
    """What was asked for does not go with the state that a job is in."""

    code = "job_state"

    def __init__(self, state: str, action: str) -> None:
        super().__init__(f"This job is {state}: there is nothing to {action}.")
        self.state = state
        self.action = action


class NothingScoredError(JobError):
    """Every recording of a batch has a problem."""

    code = "nothing_scored"

    def __init__(self, n_recordings: int) -> None:
        none, each = "The recording could not", "it"
        if n_recordings > 1:
            none, each = f"None of the {n_recordings:,} recordings could", "each"
        super().__init__(f"{none} be used. The results of the batch tell what is wrong with {each}.")
        self.n_recordings = n_recordings


class UnknownBatchError(JobError):
    """There is no batch by this id that the caller may see."""

    code = "unknown_batch"

    def __init__(self, batch_id: UUID) -> None:
        super().__init__(f"There is no batch {batch_id}. It may be somebody else's, or deleted.")
        self.batch_id = batch_id


class DeliveryError(TelepathyError):
    """A message did not get to where it was sent."""

    code = "delivery"

    def __init__(self, sentence: str, *, is_final: bool = False) -> None:
        super().__init__(sentence)
        self.is_final = is_final
        """Whether another attempt could not help."""


class MailError(DeliveryError):
    """The mail server did not take a message."""

    code = "mail"

    def __init__(self, reason: str, *, is_final: bool = False, is_of_recipient: bool = False) -> None:
        super().__init__(
            f"The message was not sent: {reason}. Check `smtp_url` and `mail_from`, then try again.", is_final=is_final
        )
        self.is_of_recipient = is_of_recipient
        """Whether it is the address that was refused, and others may be taken."""


class WebhookError(DeliveryError):
    """The address of a webhook did not take a message."""

    code = "webhook"

    def __init__(self, host: str, reason: str, *, is_final: bool = False) -> None:
        super().__init__(
            f"The webhook at {host} did not take the message: {reason}. Check its address, and that it answers 2xx.",
            is_final=is_final,
        )


class LabellingError(TelepathyError):
    """Something about labelling cannot be done."""

    code = "labelling"


class NotLabelledError(LabellingError):
    """Nobody has set up how this project is labelled."""

    code = "not_labelled"

    def __init__(self, project: str) -> None:
        super().__init__(
            f"Nobody has set up yet how the project {project!r} is labelled. Its owner does that on the Labelling page."
        )


class UnknownAssignmentError(LabellingError):
    """No such assignment of this annotator."""

    code = "unknown_assignment"

    def __init__(self, assignment_id: UUID) -> None:
        super().__init__(f"There is no clip {assignment_id} among yours. Its recording may have been deleted.")
        self.assignment_id = assignment_id


class AnswerHiddenError(LabellingError):
    """What the model says of a recording is hidden from its annotators until they have rated it."""

    code = "answer_hidden"

    def __init__(self, recording: str) -> None:
        super().__init__(
            f"You have not said yet what you hear in {recording!r}, and its project hides the model's answer until you "
            "have. Rate it first, on the Annotate page."
        )


class LabelsFileError(LabellingError):
    """Nothing of a file of ratings can be read."""

    code = "labels_file"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"No rating can be read from {name[:100]!r}: {reason}. docs/labelling.md shows each format.")
