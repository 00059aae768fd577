"""The documents name files, folders and identifiers that exist."""

import re

import pytest

from tests.docs.markdown import READMES, ROOT

PACKAGES = ("jobs", "pipelines", "xlm_core", "tests")
DOCUMENTS = ["ARCHITECTURE.md", "CONTRIBUTING.md", *READMES]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_exist(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    paths = re.findall(rf"`((?:{'|'.join(PACKAGES)})/[\w./-]+)`", text)
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [path for path in links if not ((ROOT / document).parent / path).exists()] == []


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_identifiers_exist(document):
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    text = (ROOT / document).read_text(encoding="utf-8")
    assert set(re.findall(r"`([A-Za-z_]\w*)`", text)) - set(re.findall(r"\w+", code)) == set()


def test_table_of_real_inputs_names_tests_that_exist():
    folder = ROOT / "tests" / "real"
    rows = [line for line in (folder / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    names = [re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row.rpartition(" | ")[2]) for row in rows]
    assert [
        row for row, found in zip(rows, names, strict=True) if not found and not row.endswith("| now | test |")
    ] == []
    for file, test in {name for found in names for name in found}:
        path = (ROOT if file.startswith("tests/") else folder) / file
        assert f"\ndef {test}(" in path.read_text(encoding="utf-8") or not test, f"{file}::{test}"


def test_architecture_lists_every_folder_and_top_level_module():
    tree = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Where things are")[2]
    listed = {name for line in re.findall(r"[├└]── ([^\s,]+(?:, [^\s,]+)*)", tree) for name in line.split(", ")}
    existing = {f"{package}/" for package in PACKAGES}
    for package in PACKAGES:
        for path in (ROOT / package).iterdir():
            if path.is_dir() and any(path.rglob("*.py")):
                existing.add(f"{path.name}/")
            elif path.suffix == ".py" and path.name != "__init__.py" and package != "tests":
                existing.add(path.name)
    assert listed == existing
    modules = {path.name for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert set(re.findall(r"\w+\.py", tree)) <= modules
