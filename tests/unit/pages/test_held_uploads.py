"""What Streamlit itself takes and holds of files, as the gate counts it."""

from __future__ import annotations

from types import SimpleNamespace

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from api import gate
from pages.parts import held_uploads


def test_no_page_offers_more_than_streamlit_takes():
    assert st.get_option("server.maxUploadSize") == held_uploads.MAX_FILE_MB == gate.MAX_FILE_MB


def test_files_of_a_page_are_counted_until_they_are_taken_out(monkeypatch):
    manager = MemoryUploadedFileManager("/_stcore/upload_file")
    monkeypatch.setattr(held_uploads.runtime, "exists", lambda: True)
    monkeypatch.setattr(held_uploads.runtime, "get_instance", lambda: SimpleNamespace(uploaded_file_mgr=manager))
    for number in range(2):
        manager.add_file("page", UploadedFileRec(file_id=str(number), name="a.wav", type="audio/wav", data=bytes(100)))
    assert (held_uploads.bytes_held("page"), held_uploads.bytes_held("another")) == (200, 0)
    manager.remove_file("page", "0")
    assert held_uploads.bytes_held("page") == 100


def test_without_a_server_nothing_is_held():
    assert held_uploads.bytes_held("page") == 0
