"""Arithmetic over facts: how a figure that no query gives comes to be a fact."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Annotated

from pydantic import Field

from tidings.domain.errors import InvalidInput
from tidings.domain.facts import Fact, ToolResult, Unit
from tidings.tools.port import ToolContext

EXPRESSION_CHARS_MAX = 500
NODES_MAX = 120
LABEL_CHARS_MAX = 200

Number = int | float
Expression = Annotated[str, Field(min_length=1, max_length=EXPRESSION_CHARS_MAX)]
Label = Annotated[str, Field(min_length=1, max_length=LABEL_CHARS_MAX)]
FactName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]

_OPERATORS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, Callable[..., Number]] = {"min": min, "max": max, "round": round}
_ROUND_ARGUMENTS_MAX = 2
_DIGITS_MAX = 12


async def calculate(
    ctx: ToolContext, expression: Expression, unit: Unit, label: Label, name: FactName = "value"
) -> ToolResult:
    """Compute a number from facts and numbers, such as `c2.total_usd / c1.days * 30`.

    Facts stand by their ids. There are + - * / and parentheses, min, max and round.
    """
    formula = Formula(expression, ctx.facts)
    value = formula.value()
    used = ", ".join(f"{fact.id} = {fact.value}" for fact in formula.used.values())
    source = f"{expression} where {used}" if used else expression
    rows = max((fact.rows for fact in formula.used.values()), default=0)
    fact = Fact(f"{ctx.call_id}.{name}", value, unit, label, "calculate", ctx.call_id, source, rows)
    return ToolResult(summary=f"Computed: {label}.", facts=(fact,), source=source, rows=rows)


class Formula:
    """An expression over facts; `used` are those it names, once it has been computed."""

    def __init__(self, expression: str, facts: Mapping[str, Fact]) -> None:
        self._expression = expression
        self._facts = facts
        self.used: dict[str, Fact] = {}

    def value(self) -> Number:
        """Return its value.

        Raises:
            InvalidInput: `invalid_expression`, `unknown_fact`, `not_a_number`, `division_by_zero`.
        """
        try:
            tree = ast.parse(self._expression.strip(), mode="eval")
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise _invalid("it cannot be read") from error
        if sum(1 for _ in ast.walk(tree)) > NODES_MAX:
            raise _invalid("it is too long")
        try:
            value = self._number(tree.body)
            finite = math.isfinite(value)
        except ZeroDivisionError as error:
            raise InvalidInput("division_by_zero", "The expression divides by zero.") from error
        except OverflowError as error:
            raise InvalidInput("not_a_number", "The result is too large.") from error
        if not finite or abs(value) >= 2**63:
            raise InvalidInput("not_a_number", "The result is too large.")
        return value

    def _number(self, node: ast.expr) -> Number:
        match node:
            case ast.Constant(value=bool()):
                raise _invalid("only numbers may stand in it")
            case ast.Constant(value=int() | float() as value):
                return value
            case ast.Name() | ast.Attribute():
                return self._fact(ast.unparse(node))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._number(operand)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
                return _OPERATORS[type(sign)](self._number(left), self._number(right))
            case ast.Call(func=ast.Name(id=name), args=[_, *_] as args, keywords=[]) if (
                name in _FUNCTIONS
            ):
                return self._apply(name, [self._number(arg) for arg in args])
        raise _invalid("it may hold facts, numbers, + - * /, parentheses, min, max and round")

    def _apply(self, name: str, values: list[Number]) -> Number:
        if name != "round":
            return _FUNCTIONS[name](values)
        digits = values[1] if len(values) > 1 else 0
        if len(values) > _ROUND_ARGUMENTS_MAX or digits not in range(_DIGITS_MAX + 1):
            raise _invalid(f"round takes a number and 0 to {_DIGITS_MAX} digits")
        return round(values[0], int(digits))

    def _fact(self, id_: str) -> Number:
        fact = self._facts.get(id_)
        if fact is None:
            raise InvalidInput("unknown_fact", f"There is no fact `{id_[:128]}` in this run.")
        if isinstance(fact.value, bool) or not isinstance(fact.value, int | float):
            raise InvalidInput("not_a_number", f"The fact `{id_}` is no number: {fact.value}.")
        self.used[id_] = fact
        return fact.value


def _invalid(why: str) -> InvalidInput:
    return InvalidInput("invalid_expression", f"The expression is not understood: {why}.")
