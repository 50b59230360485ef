from pathlib import Path

import pytest

from agentgym.errors import InvalidInput
from agentgym.store import ArtifactRef
from agentgym.training.config import TrainingConfig
from ray_jobs.spec import TrainPolicySpec, beside, read_address, remove_address, write_address


def spec(*, folder: str = "/a", seed: int = 0) -> TrainPolicySpec:
    pack, checkpoint = (ArtifactRef(uri=f"file://{folder}/{name}", digest=name * 32) for name in ("ab", "cd"))
    return TrainPolicySpec(pack=pack, checkpoint=checkpoint, config=TrainingConfig(seed=seed), store=folder)


def test_the_digest_tells_what_is_trained_not_where_it_lies() -> None:
    assert spec(folder="/a").digest == spec(folder="/b").digest
    assert spec(seed=0).digest != spec(seed=1).digest


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_what_is_written_at_an_address_is_read_there_until_it_is_removed(tmp_path: Path, scheme: str) -> None:
    address = f"{scheme}{tmp_path}/deep/result.json"
    assert read_address(address) is None
    write_address(address, b"done")
    assert read_address(address) == b"done"
    remove_address(address)
    remove_address(address)
    assert read_address(address) is None


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"An address is a path, file:// or s3://; got 'ftp://x/y'"):
        read_address("ftp://x/y")


def test_beside_an_address_is_in_its_folder() -> None:
    assert beside("s3://bucket/jobs/result.json", "resume.zip") == "s3://bucket/jobs/resume.zip"
    assert beside("result.json", "resume.zip") == "resume.zip"
