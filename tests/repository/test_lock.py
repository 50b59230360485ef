import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKED = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_line_of_the_lock_is_one_exact_version():
    assert not [str(pin) for pin in LOCKED if not re.fullmatch(r"==[\w.]+", str(pin.specifier))]


def test_no_package_is_locked_twice():
    names = [canonicalize_name(pin.name) for pin in LOCKED]
    assert sorted(names) == sorted(set(names))


def test_torch_has_no_local_suffix_so_that_any_index_can_serve_it():
    assert [str(pin) for pin in LOCKED if pin.name == "torch"] == ["torch==2.13.0"]


@pytest.mark.parametrize("wanted", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
def test_what_the_project_asks_for_is_locked(wanted):
    requirement = Requirement(wanted)
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in LOCKED}
    assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


def test_the_lock_is_closed_under_what_its_packages_ask_for():
    locked = {canonicalize_name(pin.name) for pin in LOCKED}
    wanted = {name for pin in LOCKED if pin.marker is None or pin.marker.evaluate() for name in _needs(pin)}
    assert not {name for name in wanted if name not in locked and not name.startswith(("nvidia-", "cuda-", "triton"))}


def _needs(pin: Requirement) -> list[str]:
    """Names that the installed package asks for here, without extras; torch's CUDA builds add their own, each exactly pinned by torch."""
    needs = (Requirement(need) for need in importlib.metadata.requires(pin.name) or ())
    return [canonicalize_name(need.name) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
