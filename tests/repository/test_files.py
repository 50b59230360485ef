import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
# Folders of a person or of one machine, and addresses of package indexes: what works here and nowhere else.
LOCAL = re.compile(
    r"(?<![\w.])/(?:home|root|Users|work|opt)/\w|/opt/\w+/simple|--(?:extra-)?index-url|--find-links|files\.pythonhosted|/simple/"
)


def test_no_file_is_bound_to_one_machine(tracked_files):
    bound = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in _texts(tracked_files)
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if LOCAL.search(line)
    ]
    assert not bound


def test_every_link_inside_the_repository_leads_somewhere(tracked_files):
    links = [(page, link) for page in tracked_files if page.suffix == ".md" for link in LINK.findall(page.read_text())]
    inside = [(page, link.partition("#")[0]) for page, link in links if not re.match(r"\w+:|#", link)]
    assert inside
    assert not [f"{page.relative_to(ROOT)} → {link}" for page, link in inside if not (page.parent / link).exists()]


def test_no_file_is_more_than_one_noun(tracked_files):
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in tracked_files if path.suffix == ".py"}
    assert not {path: lines for path, lines in lengths.items() if lines > 450}


def test_no_function_is_left_unwritten(tracked_files):
    unfinished = re.compile(r"\bNotImplementedError\b|\b(?:TODO|FIXME|XXX)\b")
    python = [path for path in tracked_files if path.suffix == ".py" and path != Path(__file__)]
    assert not [str(path.relative_to(ROOT)) for path in python if unfinished.search(path.read_text())]


def test_no_error_is_swallowed(tracked_files):
    """Whoever catches everything must raise it again or keep it, as a crashed episode is kept as a failure."""
    handlers = [
        (path, node)
        for path in tracked_files
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
    ]
    assert not [f"{path}:{node.lineno}" for path, node in handlers if not _raises_or_keeps(node)]


def test_test_files_have_names_of_their_own(tracked_files):
    names = [path.name for path in tracked_files if path.is_relative_to(ROOT / "tests") and path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def test_the_licence_is_there_and_is_the_one_declared():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert 'license = "MIT"' in (ROOT / "pyproject.toml").read_text()


def _texts(files: list[Path]) -> list[Path]:
    return [path for path in files if b"\0" not in path.read_bytes()[:4096]]


def _raises_or_keeps(handler: ast.ExceptHandler) -> bool:
    inside = [node for statement in handler.body for node in ast.walk(statement)]
    return any(isinstance(node, ast.Raise) or (isinstance(node, ast.Name) and node.id == handler.name) for node in inside)
