"""An import contract: modules outside a folder import from the folder's `__init__`, not from the modules inside it."""

import ast
from pathlib import Path
from typing import NamedTuple

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output


class Violation(NamedTuple):
    """One import of a folder's inner module from outside that folder."""

    importer: str
    line_number: int
    imported: str
    folder: str

    def __str__(self) -> str:
        path = self.importer.replace(".", "/")
        path += "/__init__.py" if Path(path).is_dir() else ".py"
        return f"{path}:{self.line_number}: imports {self.imported}; import the name from {self.folder} instead"


class PublicInterfaceContract(Contract):
    """Check that every folder below the root packages is imported only through its `__init__`.

    The root packages are exempt: modules directly below them, such as `pipelines.errors`, are open to everybody.
    """

    type_name = "public_interface"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        violations = find_violations(graph)
        return ContractCheck(kept=not violations, metadata={"violations": violations})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for violation in check.metadata["violations"]:
            output.print_error(str(violation), bold=False)
        output.new_line()


def find_violations(graph: ImportGraph) -> list[Violation]:
    violations: set[Violation] = set()
    for imported in graph.modules:
        folders = _enclosing_folders(imported)
        for importer in graph.find_modules_that_directly_import(imported) if folders else ():
            closed = [folder for folder in folders if not f"{importer}.".startswith(f"{folder}.")]
            if not closed:
                continue
            for statement in graph.get_import_details(importer=importer, imported=imported):
                if not _imports_public_name(statement["line_contents"], imported):
                    violations.add(Violation(importer, statement["line_number"], imported, closed[0]))
    return sorted(violations)


def _enclosing_folders(module: str) -> list[str]:
    """The folders around a module, outermost first, without the root package."""
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(2, len(parts))]


def _imports_public_name(statement: str, imported: str) -> bool:
    """Whether `from folder import name` imports a public function or class that has the name of a module there."""
    folder, _, name = imported.rpartition(".")
    if not statement.startswith(f"from {folder} import"):
        return False
    syntax_tree = ast.parse(Path(*folder.split("."), "__init__.py").read_text(encoding="utf-8"))
    public_names = [
        ast.literal_eval(node.value)
        for node in syntax_tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    return any(name in names for names in public_names)
