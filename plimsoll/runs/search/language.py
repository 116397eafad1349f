"""The language of filters and orders: text in, a tree out; what the names mean is not known here.

It takes every filter that MLflow takes, and ``or``, ``not`` and parentheses beside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from plimsoll.errors import InvalidInput

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "RLIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"]

_SIGNS: dict[str, Operator] = {
    "=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "LIKE": "LIKE", "ILIKE": "ILIKE",
    "RLIKE": "RLIKE",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unquoted:
    """A word where a value belongs, which is never right; what is wrong with it depends on what it is compared with."""

    #: As it was written.
    word: str


#: What a name is compared with: a text, a number, a list of texts, or nothing.
Value: TypeAlias = "str | float | int | tuple[str, ...] | Unquoted | None"

_LONGEST, _DEEPEST, _MOST = 1_000_000, 50, 200
#: Signs of other languages, which MLflow's names when it refuses them.
_FOREIGN = ("~", "~=")
#: Words of the language, which are no value that only lacks its quotes.
_WORDS = ("AND", "OR", "NOT", "IN", "IS", "LIKE", "ILIKE", "RLIKE", "NULL", "TRUE", "FALSE")
_REMEDY = "Write conditions such as: metrics.auc > 0.8 and params.depth = '5'"

_TOKENS = re.compile(
    r"""\s*(?:
    (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]) | [+-](?:inf|infinity)\b)
  | (?P<name>(?:[^\W\d]\w*|`[^`]*`|"[^"]*")\.(?:(?:\w+\.)?(?:`[^`]*`|"[^"]*")|[\w./:@-]+) | `[^`]*` | [^\W\d]\w*)
  | (?P<text>'(?:[^']|'')*' | "[^"]*")
  | (?P<sign><=|>=|!=|<>|==|=|<|>|~=?|\(|\)|,)
    )""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Name:
    """What is compared or ordered by, such as ``metrics.auc``."""

    #: What stands before the first dot, without quotes; empty for a bare name.
    kind: str
    #: What stands after it, without quotes.
    key: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition."""

    name: Name
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Every:
    """Holds when all of its parts do; with no part it always holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """Holds when one of its parts does."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds when its part does not."""

    part: Condition


Condition: TypeAlias = "Comparison | Every | Some | Not"


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to order by."""

    name: Name
    descending: bool


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


def parsed_filter(text: str) -> Condition:
    """Return a filter as a tree.

    Args:
        text: such as ``metrics.auc > 0.8 and (params.depth = '5' or tags.team like 'x%')``; empty lets all through. An ``and`` that has
            nothing before or behind it is left out, as programs that put filters together leave it there.

    Raises:
        InvalidInput: it is not of the language; the message says where.
    """
    if len(text) > _LONGEST:
        raise InvalidInput(f"The filter has {len(text)} characters.", f"Write at most {_LONGEST}.")
    if not text.strip():
        return Every(())
    return _Parser(text).whole()


def parsed_order(text: str) -> Order:
    """Return one thing to order by.

    Args:
        text: such as ``metrics.auc DESC``; without a direction the smallest comes first.

    Raises:
        InvalidInput: it is not of the language.
    """
    found = _split(text, "order_by clause")
    if not found or len(found) > 2 or (found[0].kind != "name" and not found[0].text.startswith('"')):
        raise InvalidInput(f"Invalid order_by clause '{text}'. Could not be parsed.", "Write for example: metrics.auc DESC")
    direction = found[1].text.lower() if len(found) == 2 else "asc"
    if direction not in ("asc", "desc"):
        raise InvalidInput(f"Invalid ordering key in order_by clause '{text}'.", "Write ASC or DESC behind the name.")
    return Order(_name(found[0].text), direction == "desc")


def _split(text: str, what: str) -> list[_Token]:
    found, at = [], 0
    end = len(text.rstrip())
    if "\0" in text:
        raise InvalidInput(f"Invalid {what}: it holds a NUL character.", _REMEDY)
    while at < end:
        match = _TOKENS.match(text, at)
        if match is None or match.lastgroup is None:
            rest = text[at:].lstrip()
            if rest[0] == ";" and rest[1:].strip():
                raise InvalidInput(f"Search filter contained multiple expression {text[:200]!r}.", "Provide AND-ed expression list.")
            raise InvalidInput(f"Invalid clause(s) in {what}: {rest[:40]!r} at character {len(text) - len(rest) + 1}.", _REMEDY)
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return found


def _name(text: str) -> Name:
    match = re.fullmatch(r"""(`[^`]*`|"[^"]*"|\w+)\.(.*)""", text, re.DOTALL)
    return Name("", _bare(text)) if match is None else Name(_bare(match[1]), _bare(match[2]))


def _bare(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in '`"' else text


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _split(text, "filter string")
        self._next = 0
        self._depth = 0
        self._count = 0

    def whole(self) -> Condition:
        if self._and() and self._next == len(self._tokens):
            return Every(())
        condition = self._some()
        if self._next < len(self._tokens):
            raise self._wrong("'and' or the end")
        return condition

    def _wrong(self, expected: str) -> InvalidInput:
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            where = f"found {token.text[:40]!r} at character {token.at + 1}"
        else:
            where = "found the end"
        return InvalidInput(f"Invalid clause(s) in filter string: expected {expected}, {where}.", _REMEDY)

    def _is(self, *words: str) -> bool:
        """Take the words when they come next."""
        coming = self._tokens[self._next : self._next + len(words)]
        if len(coming) < len(words) or any(
            token.kind not in ("name", "sign") or token.text.upper() != word for token, word in zip(coming, words, strict=True)
        ):
            return False
        self._next += len(words)
        return True

    def _some(self) -> Condition:
        parts = [self._every()]
        while self._is("OR"):
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _every(self) -> Condition:
        parts = [self._one()]
        while self._and() and not self._ends():
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _and(self) -> bool:
        """Take every ``and`` that comes next; one after another is one."""
        before = self._next
        while self._is("AND"):
            pass
        return self._next > before

    def _ends(self) -> bool:
        """Return whether nothing comes next, or what closes a parenthesis."""
        return self._next == len(self._tokens) or self._tokens[self._next].text == ")"

    def _one(self) -> Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise InvalidInput("The filter nests too deeply.", f"Use at most {_DEEPEST} levels of parentheses.")
        try:
            if self._is("NOT"):
                return Not(self._one())
            if self._is("("):
                self._and()
                inner = self._some()
                if not self._is(")"):
                    raise self._wrong("')'")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Comparison:
        self._count += 1
        if self._count > _MOST:
            raise InvalidInput(f"The filter has more than {_MOST} conditions.", "Use IN (...) for a list of values.")
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        if token is None or (token.kind != "name" and not token.text.startswith('"')):
            if token is not None and token.kind in ("number", "text") and self._sign(1) is not None:
                raise InvalidInput(f"Invalid comparison clause. Expected 'Identifier' found '{token.text[:40]}'.", _REMEDY)
            raise self._wrong("a name")
        self._next += 1
        name = _name(token.text)
        if self._is("IS", "NOT", "NULL"):
            return Comparison(name, "IS NOT NULL", None)
        if self._is("IS", "NULL"):
            return Comparison(name, "IS NULL", None)
        if self._is("NOT", "IN"):
            return Comparison(name, "NOT IN", self._list())
        if self._is("IN"):
            return Comparison(name, "IN", self._list())
        return Comparison(name, self._operator(), self._value())

    def _sign(self, ahead: int) -> Operator | None:
        """Return the sign that stands so many tokens ahead."""
        at = self._next + ahead
        return _SIGNS.get(self._tokens[at].text.upper()) if at < len(self._tokens) else None

    def _operator(self) -> Operator:
        found = self._sign(0)
        if found is None:
            token = self._tokens[self._next] if self._next < len(self._tokens) else None
            if token is not None and token.text.upper() in _FOREIGN:
                raise InvalidInput(f"Invalid comparator '{token.text}' not one of '{sorted({*_SIGNS.values()} - {'RLIKE'})}'.", _REMEDY)
            raise self._wrong("a comparison such as = or LIKE")
        self._next += 1
        return found

    def _value(self) -> str | float | int | Unquoted:
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        if token is None:
            raise self._wrong("a value")
        if token.kind == "number" or token.text.lower() in ("inf", "infinity"):
            self._next += 1
            # A long run of digits is no exact integer to any column.
            return int(token.text) if re.fullmatch(r"[+-]?\d{1,18}", token.text) else float(token.text)
        if token.kind == "name" and token.text.upper() not in _WORDS:
            self._next += 1
            return Unquoted(token.text)
        return self._quoted()

    def _quoted(self) -> str:
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        if token is None or token.kind != "text":
            raise self._wrong("a quoted text or a number")
        self._next += 1
        return _unquoted(token.text)

    def _list(self) -> tuple[str, ...]:
        if not self._is("("):
            raise self._wrong("'('")
        begin = self._next
        while self._next < len(self._tokens) and self._tokens[self._next].text not in ("(", ")"):
            self._next += 1
        items = self._tokens[begin : self._next]
        if not self._is(")"):
            raise self._wrong("',' or ')'")
        while_parsing, remedy = "While parsing a list in the query, expected", "Write for example: ('a', 'b')"
        if not items:
            raise InvalidInput(f"{while_parsing} a non-empty list of string values, but got empty list.", remedy)
        if any((token.text == ",") == (index % 2 == 0) for index, token in enumerate(items)):
            raise InvalidInput(f"{while_parsing} a non-empty list of string values, but got ill-formed list.", remedy)
        if any(token.kind != "text" for token in items[::2]):
            shown = "".join(token.text for token in items)[:40]
            expected = "string value, punctuation, or whitespace, but got different type in list"
            raise InvalidInput(f"{while_parsing} {expected}: ({shown})", remedy)
        return tuple(_unquoted(token.text) for token in items[::2])


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'") if text[0] == "'" else text[1:-1]
