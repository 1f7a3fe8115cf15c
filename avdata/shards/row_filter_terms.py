"""The text of a row filter to terms that arrow computes.

The reader knows the type of every term before any row is read, so that a wrong condition costs
nothing and its message names the part that is wrong.
"""

import ast
import keyword
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avdata.errors import ConfigError

Kind = Literal["number", "text", "flag", "list of text", "list of numbers"]
Columns = Mapping[str, Any]
"""Name -> arrow array."""

FIRST_LABEL = "label"
"""Stands for the first of `labels`."""

_COMPARE: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Lt: ("<", pc.less),
    ast.LtE: ("<=", pc.less_equal),
    ast.Gt: (">", pc.greater),
    ast.GtE: (">=", pc.greater_equal),
    ast.Eq: ("==", pc.equal),
    ast.NotEq: ("!=", pc.not_equal),
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
    ast.Div: pc.divide,
}
_TEXT_TESTS = {"startswith": pc.starts_with, "endswith": pc.ends_with}


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """A part of a condition that has a value in each row."""

    kind: Kind
    text: str
    evaluate: Callable[[Columns], Any]
    """Arrow array, or arrow scalar for a literal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """A condition, read."""

    parts: tuple[Term, ...]
    """What stands between the outermost `and`s: flags."""
    columns: tuple[str, ...]
    """Columns that they need, sorted."""


def read_condition(text: str, schema: Any) -> Condition:
    """The condition `text` for tables of `schema`.

    Raises:
        ConfigError: It is no condition, names an unknown column, or compares what cannot be
            compared.
    """
    reader = _Reader(text, schema)
    parts = reader.read()
    return Condition(parts=tuple(parts), columns=tuple(sorted(reader.columns)))


def _known(values: Any) -> Any:
    """NULL is False."""
    return pc.fill_null(values, pa.scalar(False))


_FREE_KEYWORDS = frozenset(keyword.kwlist) - {"and", "or", "not", "in", "is"}
"""Words that Python keeps for itself and that mean nothing in a condition."""
_STRINGS_OR_QUOTED = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?P<quoted>[^`]+)`|(?P<word>(?<![\w.])[a-z]+\b)"""
)


def _with_plain_names(text: str, columns: Collection[str]) -> tuple[str, dict[str, str]]:
    """`text` with names that Python can read for columns in backquotes or called by a keyword, and
    these names -> columns."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        column = match["quoted"] or match["word"]
        word = match["word"]
        if column is None or (word and not (word in columns and word in _FREE_KEYWORDS)):
            return match[0]
        plain = f"column_{len(names)}_"
        names[plain] = column
        return plain

    return _STRINGS_OR_QUOTED.sub(name, text), names


class _Reader:
    """Turns the tree of a condition into terms."""

    def __init__(self, text: str, schema: Any) -> None:
        self.text, self.columns = text, set[str]()
        self._types = {field.name: field.type for field in schema}
        self._plain_text, self._names = _with_plain_names(text, self._types)

    def read(self) -> list[Term]:
        """The parts between the outermost `and`s."""
        try:
            tree = ast.parse(self._plain_text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = getattr(error, "msg", None) or str(error)
            raise self._fault(
                f'is no condition ({reason}); write it as in "silence_fraction < 0.9 and label in '
                "('dog', 'cat')\""
            ) from None
        parts = tree.values if _is_and(tree) else [tree]  # type: ignore[attr-defined]
        try:
            return [self._flag(part) for part in parts]
        except RecursionError:
            raise self._fault("is nested too deep; write it shorter") from None

    def _fault(self, what: str) -> ConfigError:
        shown = self.text if len(self.text) <= 200 else f"{self.text[:200]}..."
        return ConfigError(f"--where {shown!r} {what}")

    def _source(self, node: ast.AST) -> str:
        text = ast.get_source_segment(self._plain_text, node) or ast.unparse(node)
        for plain, column in self._names.items():
            text = text.replace(plain, column)
        return text

    def _flag(self, node: ast.expr) -> Term:
        """A term that is True or False."""
        term = self._term(node)
        if term.kind != "flag":
            raise self._fault(
                f"has {term.text!r}, which is {_a(term.kind)}, where a condition must stand; "
                "compare it, as in duration_s > 2 or label == 'dog'"
            )
        return Term(
            kind="flag", text=term.text, evaluate=lambda columns: _known(term.evaluate(columns))
        )

    def _term(self, node: ast.expr) -> Term:
        match node:
            case ast.Name():
                return self._column(self._names.get(node.id, node.id))
            case ast.Constant():
                return self._literal(node, node.value)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                return self._signed(node)
            case ast.UnaryOp(op=ast.Not()):
                inner = self._flag(node.operand)
                return self._new("flag", node, lambda columns: pc.invert(inner.evaluate(columns)))
            case ast.BoolOp():
                return self._joined(node)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return self._arithmetic(node)
            case ast.Compare():
                return self._compared(node)
            case ast.Call():
                return self._call(node)
        raise self._fault(
            f"has {self._source(node)!r}, which a condition may not have; allowed are columns, "
            "numbers, texts, comparisons, in, is None, and, or, not, + - * /, abs(), len(), "
            ".startswith() and .endswith()"
        )

    def _new(self, kind: Kind, node: ast.AST, evaluate: Callable[[Columns], Any]) -> Term:
        return Term(kind=kind, text=self._source(node), evaluate=evaluate)

    def _column(self, name: str) -> Term:
        stored = "labels" if name == FIRST_LABEL and name not in self._types else name
        if stored not in self._types:
            names = sorted({*self._types, FIRST_LABEL})
            near = get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}? " if near else ""
            raise self._fault(f"names no column: {name}; {hint}Columns are {', '.join(names)}")
        self.columns.add(stored)
        if stored != name:
            return Term(kind="text", text=name, evaluate=lambda columns: _first(columns[stored]))
        kind = _kind(self._types[name])
        if kind is None:
            raise self._fault(f"names column {name}, whose type {self._types[name]} has no tests")
        return Term(kind=kind, text=name, evaluate=lambda columns: columns[name])

    def _literal(self, node: ast.expr, value: object) -> Term:
        if isinstance(value, bool):
            return self._new("flag", node, lambda _: pa.scalar(value))
        if isinstance(value, int | float):
            number = float(value) if isinstance(value, float) or abs(value) >= 2**62 else value
            return self._new("number", node, lambda _: pa.scalar(number))
        if isinstance(value, str):
            return self._new("text", node, lambda _: pa.scalar(value))
        hint = "; write `is None` or `is not None`" if value is None else ""
        raise self._fault(f"has the value {self._source(node)}, which nothing is compared to{hint}")

    def _number(self, node: ast.expr) -> Term:
        term = self._term(node)
        if term.kind != "number":
            raise self._fault(f"computes with {term.text!r}, which is {_a(term.kind)}, no number")
        return term

    def _signed(self, node: ast.UnaryOp) -> Term:
        inner = self._number(node.operand)
        if isinstance(node.op, ast.UAdd):
            return inner
        return self._new("number", node, lambda columns: pc.negate(inner.evaluate(columns)))

    def _arithmetic(self, node: ast.BinOp) -> Term:
        left, right = self._number(node.left), self._number(node.right)
        compute = _ARITHMETIC[type(node.op)]

        def evaluate(columns: Columns) -> Any:
            # in float64: arrow divides integers down, and wraps what overflows
            sides = [pc.cast(side.evaluate(columns), pa.float64()) for side in (left, right)]
            return compute(*sides)

        return self._new("number", node, evaluate)

    def _joined(self, node: ast.BoolOp) -> Term:
        parts = [self._flag(part) for part in node.values]
        join = pc.and_ if isinstance(node.op, ast.And) else pc.or_

        def evaluate(columns: Columns) -> Any:
            values = parts[0].evaluate(columns)
            for part in parts[1:]:
                values = join(values, part.evaluate(columns))
            return values

        return self._new("flag", node, evaluate)

    def _compared(self, node: ast.Compare) -> Term:
        sides = [node.left, *node.comparators]
        links = [
            self._link(left, operator, right)
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]

        def evaluate(columns: Columns) -> Any:
            values = _known(links[0](columns))
            for link in links[1:]:
                values = pc.and_(values, _known(link(columns)))
            return values

        return self._new("flag", node, evaluate)

    def _link(
        self, left: ast.expr, operator: ast.cmpop, right: ast.expr
    ) -> Callable[[Columns], Any]:
        if isinstance(operator, ast.Is | ast.IsNot):
            return self._is_none(left, operator, right)
        if isinstance(operator, ast.In | ast.NotIn):
            return self._member(left, right, negated=isinstance(operator, ast.NotIn))
        sign, compare = _COMPARE[type(operator)]
        one, other = self._term(left), self._term(right)
        if one.kind != other.kind or one.kind.startswith("list"):
            raise self._fault(
                f"compares {one.text!r}, {_a(one.kind)}, with {other.text!r}, {_a(other.kind)}; "
                f"`{sign}` needs two numbers, two texts or two flags"
            )
        if one.kind == "flag" and sign not in ("==", "!="):
            raise self._fault(f"compares flags by `{sign}`; they can be == or != alone")
        return lambda columns: compare(one.evaluate(columns), other.evaluate(columns))

    def _is_none(
        self, left: ast.expr, operator: ast.cmpop, right: ast.expr
    ) -> Callable[[Columns], Any]:
        if not (isinstance(right, ast.Constant) and right.value is None):
            raise self._fault(f"has `is {self._source(right)}`; `is` goes with None alone, use ==")
        term = self._term(left)
        test = pc.is_null if isinstance(operator, ast.Is) else pc.is_valid
        return lambda columns: test(term.evaluate(columns))

    def _member(
        self, left: ast.expr, right: ast.expr, *, negated: bool
    ) -> Callable[[Columns], Any]:
        one = self._term(left)
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            test = self._one_of(one, right)
        else:
            test = self._contained(left, self._term(right))
        if not negated:
            return test
        # a missing value is not known to be outside, either
        return lambda columns: pc.and_(
            pc.invert(_known(test(columns))), pc.is_valid(one.evaluate(columns))
        )

    def _one_of(
        self, one: Term, choices: ast.Tuple | ast.List | ast.Set
    ) -> Callable[[Columns], Any]:
        values: list[object] = []
        for choice in choices.elts:
            term = self._term(choice)
            if term.kind != one.kind or not _is_literal(choice):
                raise self._fault(
                    f"looks for {one.text!r}, {_a(one.kind)}, among {self._source(choices)}; all "
                    f"of those must be literals of that kind"
                )
            values.append(term.evaluate({}).as_py())
        if one.kind == "number":
            among = pa.array([float(str(value)) for value in values], pa.float64())
            return lambda columns: pc.is_in(
                pc.cast(one.evaluate(columns), pa.float64()), value_set=among
            )
        among = pa.array(values, pa.bool_() if one.kind == "flag" else pa.string())
        return lambda columns: pc.is_in(one.evaluate(columns), value_set=among)

    def _contained(self, left: ast.expr, whole: Term) -> Callable[[Columns], Any]:
        one = self._term(left)
        if one.kind != "text" or whole.kind not in ("text", "list of text"):
            raise self._fault(
                f"looks for {one.text!r}, {_a(one.kind)}, in {whole.text!r}, {_a(whole.kind)}; "
                "write 'dog' in labels, 'abc' in key, or label in ('dog', 'cat')"
            )
        if not _is_literal(left):
            raise self._fault(f"looks for {one.text!r}; the left of such an `in` must be a literal")
        pattern: str = one.evaluate({}).as_py()
        if whole.kind == "text":
            return lambda columns: pc.match_substring(whole.evaluate(columns), pattern=pattern)
        return lambda columns: _any_equal(whole.evaluate(columns), pattern)

    def _call(self, node: ast.Call) -> Term:
        match node:
            case ast.Call(func=ast.Name(id="abs"), args=[inner], keywords=[]):
                number = self._number(inner)
                return self._new("number", node, lambda columns: pc.abs(number.evaluate(columns)))
            case ast.Call(func=ast.Name(id="len"), args=[inner], keywords=[]):
                term = self._term(inner)
                if term.kind not in ("text", "list of text", "list of numbers"):
                    raise self._fault(f"asks for the length of {term.text!r}, {_a(term.kind)}")
                length = pc.utf8_length if term.kind == "text" else pc.list_value_length
                return self._new("number", node, lambda columns: length(term.evaluate(columns)))
            case ast.Call(
                func=ast.Attribute(value=value, attr=("startswith" | "endswith") as attr),
                args=[ast.Constant(value=str(pattern))],
                keywords=[],
            ):
                text = self._term(value)
                if text.kind != "text":
                    raise self._fault(f"asks {text.text!r}, {_a(text.kind)}, for {attr}()")
                test = _TEXT_TESTS[attr]
                return self._new(
                    "flag", node, lambda columns: test(text.evaluate(columns), pattern=pattern)
                )
        raise self._fault(
            f"calls {self._source(node)!r}; allowed are abs(NUMBER), len(COLUMN), "
            "COLUMN.startswith('...') and COLUMN.endswith('...')"
        )


def _is_and(node: ast.expr) -> bool:
    return isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And)


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        node = node.operand
    return isinstance(node, ast.Constant)


def _kind(arrow_type: Any) -> Kind | None:
    if pa.types.is_boolean(arrow_type):
        return "flag"
    if pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type):
        return "number"
    if pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type):
        return "text"
    if pa.types.is_list(arrow_type):
        inner = _kind(arrow_type.value_type)
        return "list of text" if inner == "text" else "list of numbers"
    return None


def _a(kind: Kind) -> str:
    return f"a {kind}"


def _first(lists: Any) -> Any:
    """First entry of each list; NULL where there is none."""
    starts = lists.offsets.to_numpy()[:-1]
    filled = pc.list_value_length(lists).to_numpy(zero_copy_only=False) > 0
    return pc.take(lists.values, pa.array(starts, mask=~filled))


def _any_equal(lists: Any, wanted: str) -> Any:
    """Whether each list has an entry that equals `wanted`."""
    offsets = lists.offsets.to_numpy()
    equal = _known(pc.equal(lists.values, wanted)).to_numpy(zero_copy_only=False)
    before = np.concatenate([[0], np.cumsum(equal)])
    return pa.array(before[offsets[1:]] > before[offsets[:-1]])
