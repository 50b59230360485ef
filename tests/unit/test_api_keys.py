"""Bearer keys: told once, kept as digests, ended when revoked."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentgym.errors import InvalidInput
from agentgym.serving.api_keys import ApiKeys, digest_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "experience.db"


@pytest.fixture
def keys(database: Path) -> ApiKeys:
    return ApiKeys(f"sqlite:///{database}")


def test_a_key_is_in_use_from_its_creation(keys: ApiKeys) -> None:
    assert digest_of(keys.create("web", now=NOW)) in keys.digests_in_use()


def test_a_key_itself_is_nowhere_in_the_database(keys: ApiKeys, database: Path) -> None:
    key = keys.create("web", now=NOW)
    kept = b"".join(path.read_bytes() for path in database.parent.iterdir())
    assert digest_of(key).encode() in kept
    assert key.encode() not in kept


def test_a_revoked_key_is_not_in_use(keys: ApiKeys) -> None:
    keys.create("web", now=NOW)
    keys.revoke("web", now=NOW)
    assert not keys.digests_in_use()
    assert keys.all()[0].revoked_at == NOW


def test_two_keys_in_use_have_different_names(keys: ApiKeys) -> None:
    keys.create("web", now=NOW)
    with pytest.raises(InvalidInput, match="there is one named 'web'"):
        keys.create("web", now=NOW)


def test_a_name_can_be_used_again_after_it_was_revoked(keys: ApiKeys) -> None:
    first = keys.create("web", now=NOW)
    keys.revoke("web", now=NOW)
    assert keys.create("web", now=NOW) != first


def test_only_a_key_in_use_can_be_revoked(keys: ApiKeys) -> None:
    keys.create("web", now=NOW)
    with pytest.raises(InvalidInput, match=r"none is named 'app'\. In use: web"):
        keys.revoke("app", now=NOW)
