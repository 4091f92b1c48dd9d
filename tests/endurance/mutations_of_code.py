"""Small faults for Python source, one at a time, such as a hand makes: a wrong sign, ``<`` for ``<=``, a forgotten line.

A mutant is the text of the file with one place of it changed; the rest stays as it was written, comments and line
numbers too. What only people or type checkers read is left alone: docstrings, messages of errors, f-strings, annotations.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),  # first the boundary, then the opposite
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
OPPOSITES = {"min": "max", "minimum": "maximum", "argmin": "argmax", "any": "all"}
OPPOSITES |= {after: before for before, after in OPPOSITES.items()}
# Their first two arguments may change places without a difference, or can only change places with a TypeError.
UNORDERED = {*OPPOSITES, "logaddexp", "isinstance", "issubclass"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed place.

    Attributes:
        line: where, 1-based.
        text: of that line in the original, without the blanks around it.
        change: what became what, in one line.
        source: the whole file with the change.
    """

    line: int
    text: str
    change: str
    source: str


Node = TypeVar("Node", bound=ast.AST)
Change = tuple[ast.expr | ast.stmt, ast.expr | ast.stmt]


def mutants(source: str) -> list[Mutant]:
    """All mutants of a file, in the order of their places; the same list for the same text.

    >>> [mutant.change for mutant in mutants("def f(a):\\n    return a < 1")]
    ['return a < 1 -> return None', 'a < 1 -> a <= 1', 'a < 1 -> a >= 1', '1 -> 2', '1 -> 0', '1 -> -1']
    """
    data, tree = source.encode(), ast.parse(source)
    lines = data.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    seen, found = {source}, []
    for old, new in changes(tree):
        assert old.end_lineno is not None and old.end_col_offset is not None
        start = starts[old.lineno - 1] + old.col_offset
        end = starts[old.end_lineno - 1] + old.end_col_offset
        after = ast.unparse(new)
        text = f"({after})" if isinstance(new, ast.expr) else after
        mutated = (data[:start] + text.encode() + data[end:]).decode()
        if mutated not in seen and ast.dump(old) != ast.dump(new):
            seen.add(mutated)
            change = f"{shortened(ast.unparse(old))} -> {shortened(after)}"
            found.append((start, Mutant(old.lineno, lines[old.lineno - 1].decode().strip(), change, mutated)))
    return [mutant for _, mutant in sorted(found, key=lambda pair: pair[0])]


def shortened(text: str) -> str:
    """One line of at most 100 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def changes(node: ast.AST) -> Iterator[Change]:
    """Pairs of a node below this one and what may stand in its place."""
    if isinstance(node, ast.JoinedStr):
        return  # text for people; and Python 3.11 does not know the places in it
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.stmt):
        yield from ((node, new) for new in changed_statement(node))
    if isinstance(node, ast.Raise):
        return  # the rest is the message
    if isinstance(node, ast.expr):
        yield from ((node, new) for new in changed_expression(node))
    if isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(node.test, ast.Compare | ast.BoolOp):
        yield from ((node.test, new) for new in negated(node.test))
    if isinstance(node, ast.Slice):
        yield from changed_slice(node)
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from changes(child)


def changed_statement(node: ast.stmt) -> Iterator[ast.stmt]:
    """A statement left out, or with another operator or value."""
    updates = isinstance(node, ast.Assign) and all(is_update(target, node.value) for target in node.targets)
    calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if isinstance(node, ast.Raise | ast.AugAssign | ast.Continue | ast.Break | ast.Delete) or updates or calls:
        yield ast.Pass()
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield ast.Return(ast.Constant(None))
    if isinstance(node, ast.AugAssign):
        yield replaced(node, op=ARITHMETIC[type(node.op)]())


def is_update(target: ast.expr, value: ast.expr) -> bool:
    """Whether a target keeps some value, another one, without the assignment: otherwise its name is only unknown."""
    if isinstance(target, ast.Tuple):
        return all(is_update(one, value) for one in target.elts)
    if isinstance(target, ast.Name):
        return any(isinstance(one, ast.Name) and one.id == target.id for one in ast.walk(value))
    return isinstance(target, ast.Subscript | ast.Attribute)


def changed_expression(node: ast.expr) -> Iterator[ast.expr]:
    """An expression with another operator, number, function or order of arguments."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield replaced(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])
    elif isinstance(node, ast.BinOp):
        yield replaced(node, op=ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield replaced(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from changed_constant(node.value)
    elif isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in OPPOSITES:
            field = "attr" if isinstance(node.func, ast.Attribute) else "id"
            yield replaced(node, func=replaced(node.func, **{field: OPPOSITES[name]}))
        plain = len(node.args) > 1 and not any(isinstance(one, ast.Starred) for one in node.args[:2])
        if plain and name not in UNORDERED:
            yield replaced(node, args=[node.args[1], node.args[0], *node.args[2:]])


def changed_constant(value: object) -> Iterator[ast.expr]:
    """The other truth value; one more, one less, and the negative of a number. Text stays."""
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        numbers = [value + 1, value - 1, *([-value] if value else [])]
        yield from (ast.parse(repr(number), mode="eval").body for number in numbers)


def changed_slice(node: ast.Slice) -> Iterator[Change]:
    """Bounds off by one; bounds that are numbers are constants already."""
    for bound, steps in ((node.lower, (ast.Add,)), (node.upper, (ast.Add, ast.Sub))):
        if bound is not None and not isinstance(bound, ast.Constant):
            yield from ((bound, ast.BinOp(bound, step(), ast.Constant(1))) for step in steps)


def negated(test: ast.expr) -> Iterator[ast.expr]:
    """The opposite of a condition that is no comparison; one with ``not`` loses it elsewhere."""
    if not isinstance(test, ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), test)


def replaced(node: Node, **fields: object) -> Node:
    """A copy of a node with some fields changed."""
    made = copy.copy(node)
    for name, value in fields.items():
        setattr(made, name, value)
    return made
