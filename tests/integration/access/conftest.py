"""Accounts on each database, each test with none to begin with."""

from __future__ import annotations

import pytest

from core.access.access import Access
from core.config import Settings
from tests.prepared_stores import prepared


@pytest.fixture(params=["sqlite", "postgresql"])
def access_store_url(request):
    """`store_url` of the settings that puts the access store on each database in turn."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


@pytest.fixture
def settings(tmp_path, access_store_url):
    """Settings of an installation without accounts."""
    return Settings(data_dir=prepared(tmp_path / "data"), store_url=access_store_url)


@pytest.fixture
def access(settings):
    """Accounts of a fresh installation."""
    opened = Access.open(settings)
    yield opened
    opened.close()
