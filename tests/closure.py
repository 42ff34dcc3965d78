"""Which files of this project a stage module needs: its imports, followed, and data beside them."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = "stages"


def _module_file(root: Path, name: str) -> Path | None:
    base = root.joinpath(*name.split("."))
    if base.with_suffix(".py").is_file():
        return base.with_suffix(".py")
    if (base / "__init__.py").is_file():
        return base / "__init__.py"
    return None


def imported(root: Path, file: Path) -> set[str]:
    """Return the first-party modules that `file` imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{file}: relative import; name the module in full")
    return {name for name in names if name.split(".")[0] == PACKAGE and _module_file(root, name)}


def data_beside(file: Path) -> set[Path]:
    """Return the data files in the module's folder that it names in a string.

    A folder that it names, if it is no package, stands for all files in it; what a template names
    in quotation marks is read with it.
    """
    strings = {
        node.value
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    here = [path for path in file.parent.iterdir() if path.suffix != ".py"]
    siblings = [path for path in here if path.is_file()]
    folders = [path for path in here if path.is_dir() and not (path / "__init__.py").is_file()]
    found = {path for path in siblings if path.name in strings}
    todo = list(found)
    while todo:
        text = todo.pop().read_text(encoding="utf-8")
        more = {path for path in siblings if f'"{path.name}"' in text} - found
        found |= more
        todo += more
    for folder in folders:
        if folder.name in strings:
            found |= {path for path in folder.iterdir() if path.is_file()}
    return found


def is_empty(file: Path) -> bool:
    """Tell whether a module holds nothing but a docstring."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


@cache
def closure(root: Path, module: str) -> frozenset[str]:
    """Return the files (relative, posix) that running `module` can read of this project's code."""
    todo, seen, files = [module], set(), set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        file = _module_file(root, name)
        assert file is not None, name
        if not is_empty(file):
            files |= {file, *data_beside(file)}
            todo += imported(root, file)
    return frozenset(file.relative_to(root).as_posix() for file in files)
