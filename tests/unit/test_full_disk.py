"""A disk that takes no more, as the operating system tells it: a limit on the size of files stands in for the end of the disk."""

import resource
import subprocess
import sys
from pathlib import Path

from ray_jobs.spec import read_address, write_address

LIMIT = 4096
WRITES_TOO_MUCH = """
import sys
from ray_jobs.spec import write_address
write_address(sys.argv[1], bytes(int(sys.argv[2])))
"""


def fill_the_disk() -> None:
    """Only of the process to come: here the limit would also end what prints the tests' results to a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def test_a_resume_point_that_does_not_fit_is_refused_and_the_last_good_one_kept(tmp_path: Path) -> None:
    address = str(tmp_path / "resume.zip")
    write_address(address, b"good")
    command = [sys.executable, "-B", "-c", WRITES_TOO_MUCH, address, str(LIMIT + 1)]
    outcome = subprocess.run(command, preexec_fn=fill_the_disk, capture_output=True, text=True, timeout=120, check=False)
    assert "agentgym.errors.Unavailable" in outcome.stderr
    assert f"must be writable; {tmp_path} said " in outcome.stderr
    assert "Free some space or choose another store" in outcome.stderr
    assert read_address(address) == b"good"
    assert [path.name for path in tmp_path.iterdir()] == ["resume.zip"]
