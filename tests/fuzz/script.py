"""The text of a program that needs nothing but what it tests."""

import ast
from pathlib import Path

VALUES = Path(__file__).with_name("values.py")


def names_in(text: str) -> set[str]:
    """Every name and attribute that *text* mentions."""
    nodes = list(ast.walk(ast.parse(text)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    # Deeds are named by strings.
    return names | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def definitions(text: str) -> str:
    """The part of values.py that *text* uses, in its order."""
    source = VALUES.read_text()
    lines = source.splitlines()
    pieces: list[tuple[set[str], str]] = []
    for node in ast.parse(source).body[1:]:
        start = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        while lines[start - 2].startswith("#:"):
            start -= 1
        piece = "\n".join(lines[start - 1 : node.end_lineno])
        defined = {getattr(node, "name", "")} if hasattr(node, "name") else set()
        for inner in ast.walk(node) if not hasattr(node, "name") else ():
            if isinstance(inner, ast.alias):
                defined.add((inner.asname or inner.name).partition(".")[0])
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                defined.add(inner.id)
        pieces.append((defined, piece))
    wanted = names_in(text) | {"prepare", "faulthandler"}
    used: set[int] = set()
    grown = True
    while grown:
        grown = False
        for index, (defined, piece) in enumerate(pieces):
            if index not in used and defined & wanted:
                used.add(index)
                wanted |= names_in(piece)
                grown = True
    chosen = [pieces[index][1] for index in sorted(used)]
    imports = [piece for piece in chosen if piece.startswith(("import", "from"))]
    rest = [piece for piece in chosen if not piece.startswith(("import", "from"))]
    return "\n".join(imports) + "\n\n" + "\n\n\n".join(rest)


def script(statements: list[str], what: str, origin: str) -> str:
    """A program of *statements*; *what* says what it shows, *origin* which seed it comes from."""
    if what.startswith("growth"):
        statements = [*statements, "finish()"]
    body = "\n    ".join(statements)
    head = f'"""{what}\n\n{origin}\n"""\n\nimport faulthandler\n'
    start = "grows(program)" if what.startswith("growth") else "program()"
    used = definitions(body + "\n" + start if not statements else "\n".join(statements) + "\n" + start)
    return f"{head}{used}\n\n\ndef program():\n    {body}\n\n\nfaulthandler.enable()\nprepare()\n{start}\n"
