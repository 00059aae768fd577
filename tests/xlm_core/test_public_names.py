"""The public names of xlm_core: each exists, is documented and is the one that the README uses."""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import xlm_core

README = Path(__file__).parents[2] / "xlm_core" / "README.md"
FOLDERS = [module.name for module in pkgutil.iter_modules(xlm_core.__path__) if module.ispkg]


@pytest.mark.parametrize("package", ["xlm_core", *(f"xlm_core.{folder}" for folder in FOLDERS)])
def test_public_names_exist_and_are_documented(package):
    module = import_module(package)
    assert len((module.__doc__ or "").split()) > 1
    for name in getattr(module, "__all__", []):
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):  # constants and type aliases have no docstring
            assert (value.__doc__ or "").strip(), name


def test_lazy_names_are_the_public_names():
    assert sorted(xlm_core._MODULES) == sorted(xlm_core.__all__)
    assert sorted(dir(xlm_core)) == sorted(xlm_core.__all__)
    with pytest.raises(AttributeError, match="module 'xlm_core' has no attribute 'XLMForNothing'"):
        _ = xlm_core.XLMForNothing


def test_version_is_the_installed_distribution_s():
    assert xlm_core.__version__ == version("xlm-batch")


def test_names_in_the_readme_exist():
    text = README.read_text(encoding="utf-8")
    imported: set[str] = set()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "xlm_core":
                imported |= {alias.name for alias in node.names}
    assert {"XLM", "PackedBatch", "XLMModel", "XLMTokenizer"} <= imported
    named = {name for name in re.findall(r"`(XLM\w+)[.`(]", text) if not name.endswith("For")}
    assert imported | named <= set(xlm_core.__all__)


@pytest.mark.parametrize("package", ["xlm_core", "xlm_core.decoding", "xlm_core.text", "xlm_core.tokenizer"])
def test_import_without_torch(package):
    """Importing torch takes 2 s and 150 MB in each of the many processes that only tokenize."""
    subprocess.run([sys.executable, "-c", f"import sys, {package}; assert 'torch' not in sys.modules"], check=True)


@pytest.mark.parametrize("package", ["xlm_core", "pipelines", "jobs"])
def test_package_is_marked_as_typed(package):
    assert (Path(import_module(package).__path__[0]) / "py.typed").exists()
