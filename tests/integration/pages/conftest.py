"""The pages as Streamlit runs them, over a real workbench with a tiny model."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.config import REPOSITORY, Settings
from core.workbench import open_workbench, set_current_workbench
from tests.bundles import TINY

NAVIGATION = REPOSITORY / "pages" / "navigation.py"


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path, models_dir=TINY.parent, model="tiny")


@pytest.fixture
def workbench(settings):
    """Empty, and the one that pages find."""
    opened = open_workbench(settings)
    set_current_workbench(opened)
    yield opened
    set_current_workbench(None)
    opened.close()


@pytest.fixture
def open_page(workbench):
    """Opens a page, as by its address; `parameters` stand behind the question mark."""

    def open_it(page: str = "analyse", **parameters: str | list[str]) -> AppTest:
        app = AppTest.from_file(NAVIGATION, default_timeout=60)
        app.query_params.update(parameters)
        app.run()
        return app if page == "analyse" else app.switch_page(f"{page}.py").run()

    return open_it
