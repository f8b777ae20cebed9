from __future__ import annotations

from flame.agent.page import SIZE, Page, current


def test_the_page_says_what_runs(tmp_path):
    path = tmp_path / "page"
    page = Page(path)
    assert current(path) == ()
    page.begin(7, 2, 3, 4, 1000.0)
    assert current(path) == (7, 1, 2, 3, 4)
    page.clear()
    assert current(path) == ()
    assert current(tmp_path / "none") == ()


def test_the_page_has_its_place_on_the_disk_before_it_is_written_to(tmp_path):
    """A hole that cannot be filled ends the process that writes there by SIGBUS (found by `make chaos`: a full disk)."""
    Page(tmp_path / "page")
    found = (tmp_path / "page").stat()
    assert found.st_size == SIZE
    assert found.st_blocks * 512 >= SIZE
