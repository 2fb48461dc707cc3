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

PREFIX = "TELEPATHY_"
REPOSITORY = Path(__file__).resolve().parent.parent


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

    @property
    def store_location(self) -> str:
        """Where the store is: `store_url`, or the DuckDB file in `data_dir`."""
        return self.store_url or str(self.data_dir / "store.duckdb")

    @property
    def recordings_location(self) -> str:
        """Where recordings are kept: `recordings_url`, or the folder in `data_dir`."""
        return self.recordings_url or str(self.data_dir / "recordings")

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
    try:
        if kind is int and isinstance(value, float):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError) as error:
        raise InvalidSettingError(name, repr(value), f"a value of type {kind.__name__}") from error


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
        "upload_stall_s": (0.1, 600),
        "max_streams": (1, 10_000),
        "stream_idle_s": (0.1, 3600),
        "shutdown_deadline_s": (0.1, 600),
        "min_free_disk_mb": (0, 1e9),
    }
    for name, (low, high) in limits.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise InvalidSettingError(name, repr(value), f"a number from {low:g} to {high:g}")
    if settings.hop_s > settings.window_s:
        raise InvalidSettingError("hop_s", repr(settings.hop_s), f"at most window_s, which is {settings.window_s:g}")
    if settings.log_level not in {"debug", "info", "warning", "error"}:
        raise InvalidSettingError("log_level", repr(settings.log_level), "one of debug, info, warning, error")
