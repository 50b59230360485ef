import json
import sys

import pytest

from agentgym.cli import main


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command line."""
    monkeypatch.setattr(sys, "argv", ["agentgym", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), *capsys.readouterr()


def test_a_wrong_option_is_bad_input_in_one_line(capsys, monkeypatch):
    code, output, errors = told(capsys, monkeypatch, "improve", "--traces", "x", "--limit", "0")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "'--limit'" in errors


def test_with_json_a_wrong_option_is_one_object(capsys, monkeypatch):
    code, output, _ = told(capsys, monkeypatch, "models", "rollback", "--json")
    assert code == 2
    assert json.loads(output)["error"]["kind"] == "InvalidInput"


def test_a_command_alone_shows_what_it_offers(capsys, monkeypatch):
    code, output, errors = told(capsys, monkeypatch)
    assert "improve" in output
    assert (code, errors) == (2, "")


def test_the_version_is_an_answer(capsys, monkeypatch):
    code, output, _ = told(capsys, monkeypatch, "--version")
    assert (code, output.count(".")) == (0, 2)


def test_an_unknown_format_is_bad_input_that_names_near_ones(capsys, monkeypatch):
    code, output, errors = told(capsys, monkeypatch, "traces", "validate", "x", "--format", "oltp", "--json")
    assert (code, errors.count("\n")) == (2, 1)
    assert json.loads(output)["error"]["message"].endswith("Did you mean 'otlp'?")
