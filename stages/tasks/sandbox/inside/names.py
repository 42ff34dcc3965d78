"""Which names of a check are the candidate's."""

import _ast
import builtins
import symtable
import sys
from collections.abc import Iterator
from typing import Any

_ONLY_AST = 0x400  # ast.PyCF_ONLY_AST; the module ast takes longer to import than to do without.


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def free_names(source: str) -> set[str]:
    """Return the names that a program reads and never binds; raises SyntaxError."""
    top = symtable.symtable(source, "<check>", "exec")
    bound, read = set(), set()
    for table in _tables(top):
        for symbol in table.get_symbols():
            outer = table is top or symbol.is_global()
            if outer and (symbol.is_assigned() or symbol.is_imported()):
                bound.add(symbol.get_name())
            elif outer and symbol.is_referenced():
                read.add(symbol.get_name())
    return read - bound


def _children(node: _ast.AST) -> Iterator[_ast.AST]:
    for field in node._fields:
        value: Any = getattr(node, field, None)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, _ast.AST):
                yield one


def _bare(node: _ast.AST) -> Iterator[str]:
    """Yield the names that stand otherwise than in front of a dot."""
    for child in _children(node):
        if isinstance(child, _ast.Name):
            if not isinstance(node, _ast.Attribute):
                yield child.id
        else:
            yield from _bare(child)


def modules(source: str, names: set[str]) -> set[str]:
    """Return those names that the grader imports itself: modules, used as nothing else.

    A candidate that defines a class `math` must not decide what `math.isclose` says.
    """
    tree: Any = compile(source, "<check>", "exec", _ONLY_AST, dont_inherit=True)
    return (names & sys.stdlib_module_names) - set(_bare(tree))


def remote(names: set[str], entry: str) -> set[str]:
    """Return those free names of a check that are looked up in the candidate's process.

    A candidate's definition wins over a builtin only where nothing else can be what is tested:
    one that defines `set` or `abs` as well must not decide what the check means by them.
    """
    own = {name for name in names if not hasattr(builtins, name)}
    if entry:
        return own | ({entry} & names)
    return own or names
