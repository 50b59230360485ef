import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentgym.errors import InvalidInput, Unavailable
from agentgym.traces.secret import secret_to_look_with, workspace_secret


def test_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "workspace" / "redaction.key"
    secret = workspace_secret(path)
    assert workspace_secret(path) == secret == path.read_bytes()
    assert len(secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["redaction.key"]


def test_of_many_who_make_one_at_once_all_use_the_same(tmp_path: Path) -> None:
    for attempt in range(20):
        path = tmp_path / str(attempt) / "redaction.key"
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(workspace_secret, [path] * 8))) == 1


def test_every_secret_is_another(tmp_path: Path) -> None:
    secrets = {workspace_secret(tmp_path / name / "redaction.key") for name in "abc"}
    assert len(secrets | {secret_to_look_with(tmp_path / "d" / "redaction.key") for _ in range(2)}) == 5


def test_a_look_uses_the_secret_that_is_there_and_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "redaction.key"
    secret_to_look_with(path)
    assert not path.exists()
    assert workspace_secret(path) == secret_to_look_with(path)


def test_a_secret_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "redaction.key"
    path.write_bytes(b"short")
    with pytest.raises(InvalidInput, match=r"at least 32 bytes; .* has 5"):
        workspace_secret(path)
    assert path.read_bytes() == b"short"


def test_a_workspace_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="come from a secret in the workspace"):
        workspace_secret(tmp_path / "file" / "redaction.key")
