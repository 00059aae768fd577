"""The size of files and folders: a file has one subject, and a folder can be read at a glance."""

from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("xlm_core", "pipelines", "jobs", "tests")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_file_has_at_most_300_lines():
    num_lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: num for path, num in num_lines.items() if num > 300} == {}


def test_folder_has_at_most_12_modules_besides_its_init():
    folders: dict[str, int] = defaultdict(int)
    for path in MODULES:
        folders[str(path.parent.relative_to(ROOT))] += path.name != "__init__.py"
    assert {folder: num for folder, num in folders.items() if num > 12} == {}
