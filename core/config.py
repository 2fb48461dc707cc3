"""Settings: environment (`TELEPATHY_*`), then `telepathy.toml`, then default. Read once, passed on.

The only place in Telepathy that knows whether it runs on one machine or on many.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from core.errors import InvalidSettingError, UnknownSettingError
from core.plans import Plan, default_plans, plans_of, require_limits

PREFIX = "TELEPATHY_"
REPOSITORY = Path(__file__).resolve().parent.parent


PROBE_LIMITS = "50 per second; 1200 per minute"
"""Far more than load balancers and Prometheus ask, far less than it takes to keep a process busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator may choose; docs/settings.md has one line for each field (tested)."""

    data_dir: Path = REPOSITORY / "data" / "local"
    """Where all files of a run live: store, recordings, logs."""
    store_url: str = dataclasses.field(default="", repr=False)
    """SQLAlchemy URL of the store; empty means a DuckDB file in `data_dir`. `postgresql+psycopg://...` scales out.
    Hidden in `repr`, as it may hold a password."""
    recordings_url: str = dataclasses.field(default="", repr=False)
    """fsspec URL of the folder that keeps recordings; empty means a folder in `data_dir`."""
    jobs_url: str = dataclasses.field(default="", repr=False)
    """SQLAlchemy URL of the database of durable jobs: `sqlite:///FILE` or `postgresql+psycopg://...`; empty means the
    PostgreSQL of `store_url`, or a file in `data_dir`."""
    models_dir: Path = REPOSITORY / "data" / "models"
    """Where models stand, one folder each."""
    model: str = "telepathy"
    """Name of the model that answers when a caller names none."""
    whisper_encoder: str = ""
    """File with the weights of Whisper tiny.en (`.pt` as published, or its encoder as `.npz`) from which
    `python -m training whisper install` makes the encoder of the model `whisper`; empty downloads them."""
    n_passes: int = 30
    """Stochastic forward passes behind each answer, 2 to 500."""
    seed: int = 0
    """Seed of the dropout masks: the same clip gives the same answer."""
    abstention_confidence: float = 0.4
    """Below this confidence (0 to 1) the answer is "not sure"."""
    max_upload_mb: float = 25.0
    """Largest recording accepted, in megabytes of 1,000,000 bytes."""
    max_duration_s: float = 600.0
    """Longest recording accepted."""
    min_duration_s: float = 0.3
    """Shortest recording accepted."""
    decode_deadline_s: float = 30.0
    """Time after which decoding a recording is given up."""
    window_s: float = 3.0
    """Length of the sliding windows of a timeline."""
    hop_s: float = 1.0
    """Step between the sliding windows of a timeline."""
    inference_workers: int = 2
    """Threads that decode and infer; more than the cores gains nothing."""
    inference_queue: int = 64
    """Requests that may wait for a worker before further ones are answered 503."""
    max_batch_files: int = 50
    """Most recordings one batch request may carry."""
    max_batch_mb: float = 200.0
    """Most that the recordings of one batch request may have together."""
    batch_workers: int = 2
    """Threads that score batches in the background, at a lower priority than whoever waits for an answer."""
    max_background_files: int = 10_000
    """Most recordings of one batch in the background."""
    max_background_mb: float = 2000.0
    """Most that the uploads of one batch in the background may have together."""
    batch_sources: str = ""
    """Where batches may fetch recordings: comma-separated beginnings of URLs (`https://audio.example.org/`,
    `s3://bucket/`) and folders (`/srv/audio`); `https:` stands for any public host. Empty means nowhere."""
    batch_private_hosts: str = ""
    """Hosts of `batch_sources` that may have private addresses, comma-separated; all others may not."""
    upload_stall_s: float = 30.0
    """Time without a byte after which an upload over HTTP is given up."""
    max_streams: int = 32
    """Live streams at a time."""
    stream_idle_s: float = 30.0
    """Time without a frame, or without the other side reading, after which a live stream is closed."""
    stun_url: str = ""
    """STUN server for the WebRTC microphone, such as `stun:stun.example.org:3478`; empty works on one network."""
    turn_url: str = ""
    """TURN server for the WebRTC microphone, such as `turn:turn.example.org:3478`; needed behind strict firewalls."""
    turn_username: str = ""
    """User name for the TURN server."""
    turn_password: str = dataclasses.field(default="", repr=False)
    """Password for the TURN server. Every browser that opens the Live page is told it: use one made for that."""
    shutdown_deadline_s: float = 8.0
    """Time that requests under way get to finish once the process is told to stop."""
    min_free_disk_mb: float = 200.0
    """Free disk below which `/readyz` says that the process is not ready."""
    log_level: str = "info"
    """One of debug, info, warning, error."""
    public_url: str = ""
    """Address that people open, such as `https://telepathy.example.org`, for links in mails; empty means
    http://localhost and the port. With https, cookies are sent over https only."""
    registration: str = "invitation"
    """Who may make an account: anybody (`open`), who was invited (`invitation`), or nobody (`closed`)."""
    new_user_role: str = "analyst"
    """Role of those who register themselves or come by single sign-on: viewer, analyst or annotator."""
    new_user_plan: str = "free"
    """Plan of new accounts."""
    access_token_minutes: float = 15.0
    """Life of a signed token (JWT); browsers renew theirs as long as the session lasts."""
    session_days: float = 14.0
    """Life of a session that a browser does not end itself."""
    link_hours: float = 24.0
    """Life of a one-time link: set-up, invitation, reset of a password."""
    sign_in_attempts_per_account: int = 10
    """Wrong passwords for one account within 15 minutes, after which even the right one has to wait."""
    sign_in_attempts_per_address: int = 50
    """Wrong passwords and wrong keys from one network address within 15 minutes, after which it has to wait."""
    single_sign_on: bool = False
    """Whether the sign-in page offers Streamlit's own OIDC; its provider stands in `.streamlit/secrets.toml`."""
    trusted_proxies: int = 0
    """Proxies in front that append to `X-Forwarded-For`: the caller's address is what the outermost of them saw."""
    plans: Mapping[str, Plan] = dataclasses.field(default_factory=default_plans)
    """What callers may use: tables `[plans.NAME]` in `telepathy.toml`, or one JSON object in the environment. A table
    changes or adds a plan field by field; free, pro and enterprise are always there."""
    address_limits: str = "300 per minute; 10000 per day"
    """Calls from one network address, whoever makes them; windows move."""
    probe_limits: str = PROBE_LIMITS
    """Looks at public addresses, such as `/readyz` and `/metrics`, from one network address; windows move."""
    redis_url: str = dataclasses.field(default="", repr=False)
    """Redis that keeps counts of limits for several processes, such as `redis://host:6379/0`; empty means memory."""
    secret_keys: str = dataclasses.field(default="", repr=False)
    """Keys that encrypt secrets in the store, comma-separated, the first encrypts and all decrypt; each is made by
    `python -m core.access secret-key`. Empty means a file made at the first start in `data_dir`."""
    encrypt_recordings: bool = False
    """Whether new recordings are encrypted with the first of `secret_keys` before they are written."""
    smtp_url: str = dataclasses.field(default="", repr=False)
    """Mail server, such as `smtp://user:password@host:587` (STARTTLS where offered) or `smtps://host:465`; `?ca=FILE`
    names a certificate authority of one's own. Empty means that admins hand over one-time links themselves."""
    mail_from: str = "telepathy@localhost"
    """Sender of mails."""
    usage_address: str = "truncated"
    """How the usage ledger keeps network addresses: `truncated` (IPv4 /24, IPv6 /48), `hashed`, `full` or `none`."""
    currency: str = "EUR"
    """Currency of the plans' prices and costs."""
    alert_interval_s: float = 60.0
    """Time between two evaluations of the alert rules."""
    alert_p95_latency_s: float = 2.0
    """Alert when the 95th percentile of latency within 15 minutes is above."""
    alert_error_share: float = 0.05
    """Alert when more of the requests within 15 minutes than this (0 to 1) failed with 5xx."""
    alert_memory_share: float = 0.9
    """Alert when more of the machine's memory than this (0 to 1) is in use."""
    alert_disk_share: float = 0.9
    """Alert when more of the disk of `data_dir` than this (0 to 1) is in use."""
    alert_quota_share: float = 1.0
    """Alert when somebody has used this share of a monthly quota."""
    alert_accuracy_drop: float = 0.1
    """Alert when accuracy on the last 50 corrected samples is this far (0 to 1) below the 200 before."""
    alert_emails: str = ""
    """Who gets alerts by mail, comma-separated."""
    alert_webhook_url: str = dataclasses.field(default="", repr=False)
    """Where alerts are posted as JSON; empty means nowhere. Hidden in `repr`, since many such addresses are secrets."""
    alert_webhook_secret: str = dataclasses.field(default="", repr=False)
    """What those messages are signed with, as Standard Webhooks write it: `whsec_` and 24 to 64 random bytes in base64.
    Several, separated by commas, all sign, while receivers change over; empty sends them unsigned."""
    allowed_networks: str = ""
    """Private networks that webhooks and other requests to addresses named by users may reach, such as `10.1.0.0/16`,
    comma-separated; empty means the public internet alone."""
    webhook_timeout_s: float = 15.0
    """Time that the receiver of a webhook gets to answer."""
    webhook_log_days: int = 30
    """Days after which messages of webhooks, and what became of them, are deleted."""
    max_report_rows: int = 50_000
    """Most predictions that a report lists one by one, in Excel or CSV."""
    report_recipient_domains: str = ""
    """Domains, comma-separated, whose addresses reports may be mailed to besides those of accounts; `*` means all."""
    metrics_token: str = dataclasses.field(default="", repr=False)
    """What Prometheus sends as `Authorization: Bearer` to read `/metrics`; empty lets only this machine read it."""
    sentry_dsn: str = dataclasses.field(default="", repr=False)
    """Where Sentry takes unexpected errors; empty means nowhere. Neither audio, keys nor addresses are sent."""
    retention_days: int = 0
    """Days after which recordings outside projects are deleted; 0 keeps them. Projects have their own."""

    @property
    def store_location(self) -> str:
        """Where the store is: `store_url`, or the DuckDB file in `data_dir`."""
        return self.store_url or str(self.data_dir / "store.duckdb")

    @property
    def recordings_location(self) -> str:
        """Where recordings are kept: `recordings_url`, or the folder in `data_dir`."""
        return self.recordings_url or str(self.data_dir / "recordings")

    @property
    def jobs_location(self) -> str:
        """Where durable jobs are: `jobs_url`, the PostgreSQL of `store_url`, or an SQLite file in `data_dir`."""
        if self.jobs_url or self.store_url.startswith("postgres"):
            return self.jobs_url or self.store_url
        return f"sqlite:///{self.data_dir / 'jobs.sqlite'}"

    @property
    def access_location(self) -> str:
        """Where accounts are: the PostgreSQL of `store_url`, or an SQLite file in `data_dir`.

        Apart from DuckDB's file, which one process at a time can open: commands make keys while the workbench runs.
        """
        return self.store_url if self.store_url.startswith("postgres") else str(self.data_dir / "access.sqlite")

    @property
    def installed_models_dir(self) -> Path:
        """Where encoders that others publish are installed, one folder for each model."""
        return self.data_dir / "models"

    @staticmethod
    def load(environ: Mapping[str, str], toml: str = "") -> Settings:
        """Settings from the environment, then the text of a `telepathy.toml`, then the defaults.

        Raises
        ------
        UnknownSettingError
            A key is not a setting; the sentence names the nearest one that is.
        InvalidSettingError
            A value has the wrong type or lies outside its range.
        """
        fields = {field.name: field for field in dataclasses.fields(Settings)}
        given: dict[str, object] = {}
        try:
            table = tomllib.loads(toml)
        except tomllib.TOMLDecodeError as error:
            raise InvalidSettingError("telepathy.toml", str(error), "a flat TOML table of settings") from error
        for key, value in table.items():
            _require_known(key, fields)
            given[key] = value
        for key, text in environ.items():
            if not key.startswith(PREFIX):
                continue
            name = key.removeprefix(PREFIX).lower()
            _require_known(name, fields, shown=key)
            given[name] = text
        types = get_type_hints(Settings)
        settings = Settings(**{name: _convert(name, value, types[name]) for name, value in given.items()})  # type: ignore[arg-type]
        _check_ranges(settings)
        return settings


def settings_of_this_machine() -> Settings:
    """Settings from this process's environment and the `telepathy.toml` beside `app.py`, where there is one."""
    file = REPOSITORY / "telepathy.toml"
    return Settings.load(os.environ, file.read_text(encoding="utf-8") if file.is_file() else "")


def _require_known(name: str, fields: Mapping[str, object], shown: str | None = None) -> None:
    if name not in fields:
        nearest = difflib.get_close_matches(name, list(fields), n=1, cutoff=0.0)[0]
        raise UnknownSettingError(shown or name, (PREFIX + nearest.upper()) if shown else nearest)


def _convert(name: str, value: object, kind: type) -> object:
    """`value`, from TOML or from text, as `kind`; numbers of the wrong kind are refused rather than rounded."""
    if isinstance(value, bool) and kind is not bool:
        raise InvalidSettingError(name, repr(value), f"a value of type {kind.__name__}")
    if name == "plans":
        return plans_of(value)
    if kind is bool and isinstance(value, str):
        return _truth(name, value)
    try:
        if kind is int and isinstance(value, float):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError) as error:
        raise InvalidSettingError(name, repr(value), f"a value of type {kind.__name__}") from error


def _truth(name: str, text: str) -> bool:
    """Text from the environment as a truth value: `bool("false")` would be true."""
    truths = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if text.strip().lower() not in truths:
        raise InvalidSettingError(name, repr(text), "true or false")
    return truths[text.strip().lower()]


def _check_ranges(settings: Settings) -> None:
    limits: dict[str, tuple[float, float]] = {
        "n_passes": (2, 500),
        "seed": (0, 2**32 - 1),
        "abstention_confidence": (0, 1),
        "max_upload_mb": (0.001, 2000),
        "max_duration_s": (1, 7200),
        "min_duration_s": (0.1, 10),
        "decode_deadline_s": (0.1, 600),
        "window_s": (0.5, 30),
        "hop_s": (0.1, 30),
        "inference_workers": (1, 64),
        "inference_queue": (1, 10_000),
        "max_batch_files": (1, 1000),
        "max_batch_mb": (0.001, 10_000),
        "batch_workers": (1, 64),
        "max_background_files": (1, 1_000_000),
        "max_background_mb": (0.001, 1e6),
        "upload_stall_s": (0.1, 600),
        "max_streams": (1, 10_000),
        "stream_idle_s": (0.1, 3600),
        "shutdown_deadline_s": (0.1, 600),
        "min_free_disk_mb": (0, 1e9),
        "access_token_minutes": (0.01, 1440),
        "session_days": (0.001, 365),
        "link_hours": (0.01, 720),
        "sign_in_attempts_per_account": (1, 1000),
        "sign_in_attempts_per_address": (1, 100_000),
        "trusted_proxies": (0, 10),
        "alert_interval_s": (0.1, 3600),
        "alert_p95_latency_s": (0.001, 600),
        "alert_error_share": (0, 1),
        "alert_memory_share": (0, 1),
        "alert_disk_share": (0, 1),
        "alert_quota_share": (0, 1),
        "alert_accuracy_drop": (0, 1),
        "webhook_timeout_s": (0.05, 60),
        "webhook_log_days": (4, 3650),
        "max_report_rows": (1, 1_000_000),
        "retention_days": (0, 36_500),
    }
    for name, (low, high) in limits.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise InvalidSettingError(name, repr(value), f"a number from {low:g} to {high:g}")
    if settings.hop_s > settings.window_s:
        raise InvalidSettingError("hop_s", repr(settings.hop_s), f"at most window_s, which is {settings.window_s:g}")
    for name, choices in _CHOICES.items():
        if getattr(settings, name) not in choices:
            raise InvalidSettingError(name, repr(getattr(settings, name)), f"one of {', '.join(choices)}")
    if settings.encrypt_recordings and "://" in settings.recordings_url and not settings.secret_keys:
        needed = "given: whoever shares `recordings_url` needs the keys that its recordings are encrypted with"
        raise InvalidSettingError("secret_keys", "empty", needed)
    require_limits("address_limits", settings.address_limits)
    require_limits("probe_limits", settings.probe_limits)
    if settings.new_user_plan not in settings.plans:
        raise InvalidSettingError("new_user_plan", repr(settings.new_user_plan), f"a plan: {', '.join(settings.plans)}")


_CHOICES = {
    "log_level": ("debug", "info", "warning", "error"),
    "registration": ("open", "invitation", "closed"),
    "new_user_role": ("viewer", "analyst", "annotator"),
    "usage_address": ("truncated", "hashed", "full", "none"),
}
