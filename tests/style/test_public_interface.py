from pathlib import Path

import grimp
import pytest

from tests.style.public_interface import find_violations

FILES = {
    "shop/__init__.py": "",
    "shop/errors.py": "",
    "shop/stock/__init__.py": "from shop.stock.count import count\n\n__all__ = ['count']\n",
    "shop/stock/count.py": "def count(): ...\n",
    "shop/stock/shelves.py": "",
    "shop/stock/formats/__init__.py": "",
    "shop/stock/formats/table.py": "",
}


def violations_of(importing: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for path, text in {**FILES, **importing}.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return [str(violation) for violation in find_violations(grimp.build_graph("shop", cache_dir=None))]


def test_import_of_a_module_inside_another_folder_is_a_violation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing = {"shop/till.py": "\nimport shop.errors\nfrom shop.stock.shelves import something\n"}
    assert violations_of(importing, tmp_path, monkeypatch) == [
        "shop/till.py:3: imports shop.stock.shelves; import the name from shop.stock instead"
    ]


def test_imports_from_a_folder_and_within_it_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = {
        "shop/till.py": "from shop.stock import count\nimport shop.stock\nfrom shop import errors\n",
        "shop/stock/order.py": "from shop.stock.shelves import something\nfrom shop.stock.formats import table\n",
    }
    assert violations_of(importing, tmp_path, monkeypatch) == [
        "shop/stock/order.py:2: imports shop.stock.formats.table; import the name from shop.stock.formats instead"
    ]


def test_the_outermost_closed_folder_is_the_one_to_import_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = {
        "shop/till/__init__.py": "from shop.stock import shelves\nfrom shop.stock.formats import table\n",
    }
    assert violations_of(importing, tmp_path, monkeypatch) == [
        "shop/till/__init__.py:1: imports shop.stock.shelves; import the name from shop.stock instead",
        "shop/till/__init__.py:2: imports shop.stock.formats.table; import the name from shop.stock instead",
    ]
