"""Mutants of a module: its functions with one rule changed, swapped into the running process.

A mutant changes one place of one function: a comparison, a condition, an operand, a number, a
statement, a field that `replace` sets. `apply` gives the function the mutant's code object in
place, so that every table and import that holds the function runs the mutant.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

_FLIPS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
Edit = Callable[[Any], Any]
"""Changes the node that it is given, or returns another in its place."""


@dataclass(frozen=True)
class Mutant:
    """One changed place. key : names it by module, function and change, whatever the line is"""

    module: str
    function: str
    line: int
    key: str
    index: int

    def compile(self) -> CodeType:
        """The function's code, changed."""
        tree = _parse(self.module)
        function = dict(_list_functions(tree))[self.function]
        node, edit, _ = _list_edits(function)[self.index]
        other = edit(node)
        if other is not None:
            _Exchange(node, other).visit(function)
        path = inspect.getsourcefile(importlib.import_module(self.module)) or self.module
        return _find_code(compile(ast.fix_missing_locations(tree), path, "exec"), self.function)

    def apply(self) -> None:
        """Puts the code into the running function. ValueError: its closure would be another."""
        find_function(self.module, self.function).__code__ = self.compile()


def list_mutants(module: str) -> list[Mutant]:
    """All mutants of the functions and methods of a module, in the order of its lines."""
    found: list[Mutant] = []
    for name, function in _list_functions(_parse(module)):
        seen: Counter[str] = Counter()
        for index, (node, _, what) in enumerate(_list_edits(function)):
            seen[what] += 1
            again = f" #{seen[what]}" if seen[what] > 1 else ""
            key = f"{module}.{name}: {what}{again}"
            line = getattr(node, "lineno", function.lineno)  # a comprehension has none
            found.append(Mutant(module, name, line, key, index))
    return found


def find_function(module: str, name: str) -> FunctionType:
    """A function or method by its qualified name, without what is wrapped around it."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, cached_property):
        found = found.func
    elif isinstance(found, staticmethod | classmethod):
        found = found.__func__
    assert isinstance(found, FunctionType), name
    return found


def _parse(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def _list_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Of the module and its classes; what is nested in a function belongs to that one."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def _find_code(code: CodeType, name: str) -> CodeType:
    for part in name.split("."):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code


class _Exchange(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> Any:
        if node is self._old:
            return ast.copy_location(self._new, node)
        return super().visit(node)


# -- places ----------------------------------------------------------------------------------------


def _list_edits(function: ast.FunctionDef) -> list[tuple[Any, Edit, str]]:
    """Each place of a function that can be changed: its node, the change, and what it is."""
    found: list[tuple[Any, Edit, str]] = []
    bound = {a.arg for a in (*function.args.args, *function.args.kwonlyargs)}
    for node in _walk(function):
        match node:
            case ast.Compare():
                found.extend(_edit_compare(node))
            case ast.BoolOp():
                found.extend(_edit_bool(node))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                found.append((node, _give(operand), f"{_text(node)} -> without not"))
            case ast.If() | ast.IfExp():
                for value in (True, False):
                    found.append((node, _set_test(value), f"if {_text(node.test)} -> {value}"))
            case ast.comprehension():
                for i, condition in enumerate(node.ifs):
                    what = f"for {_text(node.target)} if {_text(condition)} -> dropped"
                    found.append((node, _drop("ifs", i), what))
            case ast.Constant(value=bool()):
                pass
            case ast.Constant(value=int() as number):
                found.append((node, _give(ast.Constant(number + 1)), f"{number} -> {number + 1}"))
            case ast.BinOp(op=ast.Add() | ast.Sub() as op):
                other = ast.Sub() if isinstance(op, ast.Add) else ast.Add()
                what = f"{_text(node)} -> {type(other).__name__}"
                found.append((node, _set_op(other), what))
            case ast.Expr(value=ast.Call()):
                found.append((node, _give(ast.Pass()), f"{_text(node)} -> dropped"))
            case ast.Assign(targets=[target]) if _is_bound(target, bound):
                found.append((node, _give(ast.Pass()), f"{_text(node)} -> dropped"))
            case ast.Assign(targets=[ast.Name(id=name)]):
                bound.add(name)
            case ast.Call(func=ast.Name(id="replace"), keywords=[_, *_] as keywords):
                for i, keyword in enumerate(keywords):
                    if keyword.arg is not None:
                        what = f"replace({keyword.arg}={_text(keyword.value)}) -> kept"
                        found.append((node, _drop("keywords", i), what))
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                what = f"return {_text(value)} -> None"
                found.append((node, _set_value(ast.Constant(None)), what))
    return found


def _walk(node: ast.AST) -> Iterator[Any]:
    """The nodes of a function's body from top to bottom, without texts and annotations."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr | ast.arguments | ast.Slice):
            continue
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue
        yield child
        yield from _walk(child)


def _edit_compare(node: ast.Compare) -> Iterator[tuple[Any, Edit, str]]:
    for i, op in enumerate(node.ops):
        flip = _FLIPS[type(op)]

        def set_op(target: Any, i: int = i, flip: type[ast.cmpop] = flip) -> None:
            target.ops[i] = flip()

        yield node, set_op, f"{_text(node)} -> {flip.__name__}"


def _edit_bool(node: ast.BoolOp) -> Iterator[tuple[Any, Edit, str]]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield node, _set_op(other), f"{_text(node)} -> {type(other).__name__}"
    for i, part in enumerate(node.values):
        yield node, _drop("values", i), f"{_text(node)} -> without {_text(part)}"


def _is_bound(target: ast.expr, bound: set[str]) -> bool:
    """Whether leaving the assignment out leaves an older value in its place."""
    if isinstance(target, ast.Name):
        return target.id in bound
    if isinstance(target, ast.Tuple):
        return all(_is_bound(item, bound) for item in target.elts)
    return isinstance(target, ast.Attribute | ast.Subscript)


def _give(other: ast.AST) -> Edit:
    return lambda node: copy.deepcopy(other)


def _drop(name: str, index: int) -> Edit:
    def edit(node: Any) -> Any:
        items = getattr(node, name)
        del items[index]
        return items[0] if name == "values" and len(items) == 1 else None

    return edit


def _set_op(op: ast.AST) -> Edit:
    return lambda node: setattr(node, "op", op)


def _set_test(value: bool) -> Edit:
    return lambda node: setattr(node, "test", ast.Constant(value))


def _set_value(value: ast.expr) -> Edit:
    return lambda node: setattr(node, "value", value)


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else text[:87] + "..."
