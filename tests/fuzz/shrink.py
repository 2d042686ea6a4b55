"""Makes a failing program short: takes away calls, then arguments, while it fails in the same way."""

import ast
import contextlib
import time
from collections.abc import Callable
from types import CodeType

from fuzz import values
from fuzz.child import Child, Record
from fuzz.verdict import verdict


def fails(statements: list[str], growing: bool) -> str | None:
    """The verdict on a child that runs the statements."""

    def body(record: Record) -> None:
        names = vars(values)
        code: list[CodeType] = []
        while len(code) < len(statements):
            with contextlib.suppress(KeyboardInterrupt):
                code.append(compile(statements[len(code)], "<program>", "exec"))

        def program() -> None:
            for part in code:
                with contextlib.suppress(KeyboardInterrupt):
                    exec(part, names)
            if growing:
                values.finish()

        if growing:
            values.grows(program)
        else:
            program()

    child = Child(body)
    while (ending := child.poll(1.0)) is None:
        pass
    ending.record.close()
    return verdict(ending)


def kind_of(fault: str) -> str:
    """What a shorter program must have in common with the longer one."""
    return fault if fault.startswith("growth") else fault.split(":")[0].split(",")[0]


def shrink(statements: list[str], fault: str, limit_s: float = 60.0) -> list[str]:
    """The shortest program found within *limit_s* that still has *fault*; as it was when it is not seen again."""
    deadline = time.monotonic() + limit_s
    growing = fault.startswith("growth")
    kind = kind_of(fault)
    if growing:
        # Each pass ends so in any case.
        statements = [statement for statement in statements if statement != "finish()"]

    def holds(candidate: list[str]) -> bool:
        found = fails(candidate, growing)
        return found is not None and kind_of(found) == kind

    size = max(1, len(statements) // 2)
    while size and time.monotonic() < deadline:
        start = len(statements) - size
        removed = False
        while start >= 0 and time.monotonic() < deadline:
            candidate = statements[:start] + statements[start + size :]
            if candidate and holds(candidate):
                statements = candidate
                removed = True
            start -= size
        if not removed or size > 1:
            size //= 2
    return simplified(statements, holds, deadline)


def simplified(statements: list[str], holds: Callable[[list[str]], bool], deadline: float) -> list[str]:
    """The program with None for each argument that does not matter."""
    for index in range(len(statements)):
        position = 0
        while time.monotonic() < deadline:
            text = with_none(statements[index], position)
            if text is None:
                break
            candidate = [*statements[:index], text, *statements[index + 1 :]]
            if text != statements[index] and holds(candidate):
                statements = candidate
            position += 1
    return statements


def with_none(statement: str, position: int) -> str | None:
    """*statement* with None for the argument at *position* of its inner calls; None when it has not so many."""
    tree = ast.parse(statement)
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id == "call"):
            for index in range(len(node.args)):
                if count == position:
                    node.args[index] = ast.Constant(None)
                    return ast.unparse(tree)
                count += 1
    return None
