"""The command line spells out a few words of the service, and packs what it sends; no server is needed for that."""

import tarfile
from pathlib import Path
from typing import get_args

import pytest

from lifecycle.cli import sources, switches
from lifecycle.cli.http import CommandError
from lifecycle.deploy.domains import Kind
from lifecycle.deploy.model import Environment


def test_the_command_line_knows_the_same_environments_and_domains_as_the_service() -> None:
    """Every environment can be named on the command line, and every kind of domain is shown."""
    following = {kind.value for kind in Kind if kind.follows_live}

    assert set(get_args(switches.Environment)) == {one.value for one in Environment}
    assert set(switches.KINDS) == {kind.value for kind in Kind}
    assert set(switches.KINDS_THAT_FOLLOW_LIVE) == following


def test_variables_of_the_command_line_win_over_those_of_a_file(tmp_path: Path) -> None:
    """A file gives the usual values, and --env changes one of them; a value may contain anything, also `=`."""
    (tmp_path / "file").write_text("# comment\n\nMODE=slow\nURL=mysql://a=b?c=d\nEMPTY=\n  # another\n")

    found = sources.variables(tmp_path / "file", ["MODE=fast", "QUOTED='x y'"])

    assert found == {"MODE": "fast", "URL": "mysql://a=b?c=d", "EMPTY": "", "QUOTED": "'x y'"}


@pytest.mark.parametrize("text", ["hush", "=hush", "", " =hush"])
def test_a_variable_without_a_name_is_refused_and_not_repeated(text: str) -> None:
    """A secret whose name was forgotten is not printed."""
    with pytest.raises(CommandError) as refused:
        sources.variables(None, [text])

    assert refused.value.refusal
    assert "hush" not in str(refused.value)


def test_a_folder_is_packed_with_what_is_in_it(tmp_path: Path) -> None:
    """The Dockerfile is at the top of the tarball, hidden files and folders are in it too."""
    (tmp_path / "app" / "src").mkdir(parents=True)
    (tmp_path / "app" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "app" / ".hidden").write_text("x")
    (tmp_path / "app" / "src" / "main.py").write_text("x")

    with sources.tarball(tmp_path / "app") as content, tarfile.open(fileobj=content) as tar:
        names = set(tar.getnames())

    assert names == {".", "./Dockerfile", "./.hidden", "./src", "./src/main.py"}


def test_a_tarball_is_sent_as_it_is(tmp_path: Path) -> None:
    """A file that was packed before goes up byte by byte."""
    (tmp_path / "app.tar.gz").write_bytes(b"bytes")

    with sources.tarball(tmp_path / "app.tar.gz") as content:
        assert content.read() == b"bytes"


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A wrong path is found before anything is asked for."""
    with pytest.raises(CommandError) as refused, sources.tarball(tmp_path / "nowhere"):
        pass

    assert refused.value.refusal
