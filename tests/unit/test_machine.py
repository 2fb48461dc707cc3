"""How full the machine is."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from core.machine import disk_share, memory_share

WHOLE = 1_000_000_000


def cgroup(folder, *, limit, current, inactive=0):
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive}\nactive_file 2\n")
    return folder


def test_limit_of_the_container_counts_where_it_is_fuller(tmp_path):
    assert memory_share(cgroup(tmp_path, limit=WHOLE, current=999_000_000)) == pytest.approx(0.999)


def test_what_the_kernel_can_drop_is_not_in_use(tmp_path):
    share = memory_share(cgroup(tmp_path, limit=WHOLE, current=WHOLE, inactive=WHOLE))
    assert share == pytest.approx(psutil.virtual_memory().percent / 100, abs=0.1)


@pytest.mark.parametrize("limit", ["max", "0", "nonsense"])
def test_container_without_a_limit_is_as_full_as_its_machine(tmp_path, limit):
    share = memory_share(cgroup(tmp_path, limit=limit, current=WHOLE))
    assert share == pytest.approx(psutil.virtual_memory().percent / 100, abs=0.1)


@pytest.mark.parametrize(("used", "free", "share"), [(1, 999_999, 1e-6), (0, 0, 0.0)])
def test_share_of_a_disk_is_neither_rounded_nor_asks_for_a_size(tmp_path, monkeypatch, used, free, share):
    monkeypatch.setattr(psutil, "disk_usage", lambda _: SimpleNamespace(used=used, free=free, percent=0.0))
    assert disk_share(tmp_path) == pytest.approx(share)


def test_disk_is_as_full_as_the_system_says(tmp_path):
    assert disk_share(tmp_path) == pytest.approx(psutil.disk_usage(str(tmp_path)).percent / 100, abs=0.02)
