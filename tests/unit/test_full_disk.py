"""A disk that takes no more, as the operating system tells it: a limit on the size of files stands in for the end of the disk."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentgym.errors import Unavailable
from ray_jobs.spec import read_address, write_address

LIMIT = 4096


@pytest.fixture
def small_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_resume_point_that_does_not_fit_is_refused_and_the_last_good_one_kept(tmp_path: Path, small_disk: None) -> None:
    address = str(tmp_path / "resume.zip")
    write_address(address, b"good")
    with pytest.raises(Unavailable, match=rf"must be writable; {tmp_path} said .*Free some space or choose another store"):
        write_address(address, b"x" * (LIMIT + 1))
    assert read_address(address) == b"good"
    assert [path.name for path in tmp_path.iterdir()] == ["resume.zip"]
