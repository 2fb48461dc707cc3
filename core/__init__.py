"""What Telepathy knows: audio, emotion, uncertainty, storage. Imports no user interface and no tensorflow."""

__version__ = "0.1.0"
