"""What can go wrong in the training programs. Never served by a page or the API, so apart from `core.errors`.

TrainingError
  ManifestError                  a manifest cannot be used at all
  SplitError                     a split cannot be made or read
  SurrogateError                 a surrogate or a reference cannot be made
  DownloadError                  a corpus cannot be fetched
    LicenceDeclinedError         the licence was not accepted
    ChecksumMismatchError        what arrived is not what was published
    DiskFullError                no room for the download
    RegistrationNeededError      the publisher hands the corpus out only after a registration
  CheckpointError                weights that others publish cannot be used
  InstallationError              an encoder made of them does not do what it should
  RetrainingError                a model cannot be retrained
  CustomTrainingError            a model cannot be made of somebody's own data set
"""

from __future__ import annotations

from pathlib import Path


class TrainingError(Exception):
    """Anything the user of a training program can be told: `str(error)` is a whole sentence for them."""


class ManifestError(TrainingError):
    """A manifest cannot be used at all."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The manifest {path} cannot be used: {reason}. Make one with `python -m training corpora index`."
        )


class SplitError(TrainingError):
    """A split cannot be made or read."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The split cannot be made: {reason}.")


class SurrogateError(TrainingError):
    """A surrogate or a reference cannot be made."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"It cannot be made: {reason}.")


class DownloadError(TrainingError):
    """A corpus cannot be fetched."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what} cannot be fetched: {reason}. The same command goes on where this one stopped.")


class LicenceDeclinedError(DownloadError):
    """The licence was not accepted."""

    def __init__(self, corpus: str, licence: str) -> None:
        TrainingError.__init__(
            self, f"Nothing was fetched: the licence of {corpus} ({licence}) was not accepted. Use --accept-licence."
        )


class ChecksumMismatchError(DownloadError):
    """What arrived is not what was published."""

    def __init__(self, name: str, algorithm: str, expected: str, found: str, *, is_removed: bool = True) -> None:
        what_now = "The file was removed; run the same command again." if is_removed else "Fetch it again."
        TrainingError.__init__(
            self,
            f"{name} arrived damaged or was changed: its {algorithm} is {found}, published is {expected}. {what_now}",
        )


class DiskFullError(DownloadError):
    """No room for the download."""

    def __init__(self, folder: Path, n_bytes_needed: int, n_bytes_free: int) -> None:
        TrainingError.__init__(
            self,
            f"{folder} has {n_bytes_free / 1e6:,.0f} MB free, {n_bytes_needed / 1e6:,.0f} MB are needed. "
            "Make room or choose another folder; what has arrived is kept.",
        )


class RegistrationNeededError(DownloadError):
    """The publisher hands the corpus out only after a registration."""

    def __init__(self, corpus: str, page: str) -> None:
        TrainingError.__init__(
            self,
            f"{corpus} is handed out only after a registration at {page}. Register, unpack what you receive, and give "
            f"its folder: `python -m training corpora fetch {corpus.lower()} --folder FOLDER`.",
        )


class CheckpointError(TrainingError):
    """Weights that others publish cannot be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The weights in {path} cannot be used: {reason}. Give the file tiny.en.pt as OpenAI publishes it, or its "
            "encoder as .npz; without --from it is downloaded."
        )


class InstallationError(TrainingError):
    """An encoder made of published weights does not do what it should."""

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"The encoder of {model!r} was not installed: {reason}.")


class RetrainingError(TrainingError):
    """A model cannot be retrained."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The model cannot be retrained: {reason}.")


class CustomTrainingError(TrainingError):
    """A model cannot be made of somebody's own data set."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"No model can be made of this data set: {reason}.")
