"""Files that pages were handed: Streamlit keeps them in memory until they are taken out or the page is closed."""

from __future__ import annotations

from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

MAX_FILE_MB = 200
"""What Streamlit takes as one file, however much a page offers (`server.maxUploadSize`, tested)."""


def bytes_held(page_id: str) -> int:
    """How much is held for one open page, by Streamlit's id of it."""
    if not runtime.exists():
        return 0
    manager = runtime.get_instance().uploaded_file_mgr
    if not isinstance(manager, MemoryUploadedFileManager):
        return 0
    return sum(len(file.data) for file in list(manager.file_storage.get(page_id, {}).values()))
