from __future__ import annotations

import io
import os
import tarfile

import pytest

from flame.cli.package import archive, pack
from flame.core.base.errors import InvalidArgument, NotFound


def a_program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_same_content_is_the_same_package(tmp_path):
    for name in ("a", "b"):
        a_program(tmp_path / name / "bin" / "tool")
        (tmp_path / name / "data.txt").write_text("x")
    os.utime(tmp_path / "b" / "data.txt", (1, 1))
    assert archive(tmp_path / "a") == archive(tmp_path / "b")


def test_a_program_is_packed_into_bin(tmp_path):
    package = pack("tool", a_program(tmp_path / "tool"), None, None)
    assert (package.kind, package.installer, package.command) == ("executable-file", "binary", "tool")
    assert package.key("tool") == f"tool/pkg/tool-{package.sha256[:16]}.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(package.data)) as tar:
        member = tar.getmember("bin/tool")
        assert (member.mode, member.mtime, member.uid) == (0o755, 0, 0)


def test_python_projects_start_by_their_script_or_module(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[project.scripts]\nserve = "x:main"\n')
    package = pack("my-app", tmp_path, None, None)
    assert (package.kind, package.installer, package.command, package.arguments) == ("directory", "python", "serve", ())
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    (tmp_path / "my_app").mkdir()
    (tmp_path / "my_app" / "__main__.py").write_text("")
    package = pack("my-app", tmp_path, None, None)
    assert (package.command, package.arguments) == ("python", ("-m", "my_app"))


def test_an_archive_is_packed_again(tmp_path):
    a_program(tmp_path / "src" / "bin" / "tool")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "src", arcname=".")
    package = pack("tool", tmp_path / "x.tar.gz", None, None)
    assert (package.kind, package.data) == ("tar.gz", archive(tmp_path / "src"))


def test_what_cannot_be_packed_says_why(tmp_path):
    with pytest.raises(NotFound):
        pack("a", tmp_path / "none", None, None)
    (tmp_path / "plain").write_text("x")
    with pytest.raises(InvalidArgument, match="neither a directory"):
        pack("a", tmp_path / "plain", None, None)
    with pytest.raises(InvalidArgument, match="cannot tell how to start"):
        pack("a", tmp_path, None, None)
    (tmp_path / "out").symlink_to("/etc/passwd")
    with pytest.raises(InvalidArgument, match="is a link"):
        pack("a", tmp_path, None, "x")
    (tmp_path / "bad.tgz").write_bytes(b"nope")
    with pytest.raises(InvalidArgument, match="not an archive"):
        pack("a", tmp_path / "bad.tgz", None, None)


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "link/out"])
def test_an_archive_that_leads_outside_is_refused(tmp_path, name):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        if name.startswith("link"):
            tar.addfile(link)
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(InvalidArgument, match="leads outside"):
        pack("a", tmp_path / "x.tar.gz", None, "x")
    assert not (tmp_path / "out").exists()
