"""The condition of `--where`: a small language that is parsed into an Arrow expression, never run as code.

`source == "x"`, `size > 1000 and not label in ("real", "tampered")`: names of columns, texts, numbers, true, false and
null, the six comparisons, `in`, `and`, `or`, `not` and brackets. Python's parser reads it; anything else is refused.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pixelsleuth.core.names import nearest
from pixelsleuth.errors import SourceError
from pixelsleuth.scale.listing import arrow

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 4000
"""Characters of a condition."""
DEEPEST = 50
"""Nested brackets and `not`s of a condition."""
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
WORDS = {"true": True, "false": False, "null": None}
"""Constants as SQL and JSON write them; Python's own spelling is understood as well."""


@dataclass(frozen=True)
class Condition:
    """A condition on the rows of a manifest: its text, and the columns that it names."""

    text: str
    columns: tuple[str, ...]
    expression: Any

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition in `text`. Raises SourceError where it is none.

        >>> Condition.parse('source == "x" and size > 10').columns
        ('size', 'source')
        """
        if len(text) > LONGEST:
            raise SourceError(f"--where has {len(text)} characters, more than the {LONGEST} that are read.")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise _refused(text, "it cannot be read") from None
        columns: set[str] = set()
        try:
            expression = _Reader(text, columns).condition(tree, 0)
        except arrow().ArrowException as error:
            raise _refused(text, str(error)) from None
        return cls(text, tuple(sorted(columns)), expression)

    def check(self, known: list[str]) -> None:
        """Raise SourceError where a column of the condition is not among those `known`."""
        for name in self.columns:
            if name not in known:
                close = nearest(name, known)
                hint = f"did you mean {close}?" if close else f"it has {', '.join(known[:20])}"
                raise SourceError(f"--where names the column {name}, which the manifest lacks; {hint}")

    def of(self, table: pa.Table) -> pa.Table:
        """The rows for which it is true. Raises SourceError where it compares what cannot be compared."""
        try:
            return table.filter(self.expression)
        except arrow().ArrowException as error:
            raise _refused(self.text, str(error).splitlines()[0]) from None


def _refused(text: str, why: str) -> SourceError:
    return SourceError(
        f'--where {text[:200]!r} is no condition ({why}); write one such as: source == "x" and size > 1000.'
    )


class _Reader:
    """Turns a syntax tree into an Arrow expression, node by node; what it does not know is refused."""

    def __init__(self, text: str, columns: set[str]) -> None:
        import pyarrow.compute as pc

        self.text, self.columns, self.pc = text, columns, pc

    def condition(self, node: ast.expr, depth: int) -> Any:
        if depth > DEEPEST:
            raise _refused(self.text, "too many brackets")
        if isinstance(node, ast.BoolOp):
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            values = [self.condition(value, depth + 1) for value in node.values]
            whole = values[0]
            for value in values[1:]:
                whole = join(whole, value)
            return whole
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.condition(node.operand, depth + 1)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self.comparison(node.left, node.ops[0], node.comparators[0])
        raise _refused(self.text, "only comparisons, and, or, not and brackets are understood")

    def comparison(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Any:
        if isinstance(sign, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List) or not right.elts:
                raise _refused(self.text, "after `in` comes a list such as (1, 2)")
            values = [self.constant(value) for value in right.elts]
            if len({type(value) for value in values}) > 1:
                raise _refused(self.text, "a list holds either texts or numbers")
            found = self.column(left).isin(values)
            return ~found if isinstance(sign, ast.NotIn) else found
        if type(sign) not in COMPARISONS:
            raise _refused(self.text, "a comparison is one of == != < <= > >= in")
        if self.is_column(right) and not self.is_column(left):
            swapped = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
            return self.comparison(right, swapped.get(type(sign), type(sign))(), left)
        column = self.column(left)
        other = self.column(right) if self.is_column(right) else self.constant(right)
        if other is None:
            if not isinstance(sign, ast.Eq | ast.NotEq):
                raise _refused(self.text, "null is compared with == or != only")
            return column.is_null() if isinstance(sign, ast.Eq) else ~column.is_null()
        return COMPARISONS[type(sign)](column, other)

    def is_column(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id not in WORDS

    def column(self, node: ast.expr) -> Any:
        if not isinstance(node, ast.Name) or node.id in WORDS:
            raise _refused(self.text, "a comparison names a column")
        self.columns.add(node.id)
        return self.pc.field(node.id)

    def constant(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name) and node.id in WORDS:
            return WORDS[node.id]
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            sign, node = -1, node.operand
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bool | int | float | None):
            value = node.value
            if sign == -1:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise _refused(self.text, "a minus stands before a number")
                value = -value
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise _refused(self.text, "a number is too large")
            return value
        raise _refused(self.text, "a column is compared with a text or a number")
