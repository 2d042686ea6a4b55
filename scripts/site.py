"""A hook of mkdocs: pages that lie outside docs/, the list of decisions, and links to what the site does not have.

Pages link to each other, and to sources, as they lie in the repository. On the site a link to a page leads there, a
link to another file of the repository becomes its text, and a link to what does not exist ends a strict build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

#: Where a page of the repository stands on the site; those in docs/ stand where they lie there.
PAGES = {
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "benchmarks/method.md",
    "docs/design": "design/index.md",
    "docs/benchmarks": "benchmarks/report.md",
    "README.md": "index.md",
}

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1$|``[^\n]+?``|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def decisions() -> list[Path]:
    return sorted(path for path in (ROOT / "docs" / "design").glob("*.md") if path.name[0].isdigit())


def list_of_decisions() -> str:
    titles = [(path.name, path.read_text().partition("\n")[0].lstrip("# ")) for path in decisions()]
    head = "# Decisions\n\nDecisions with a rejected alternative: context, choice, what was given up.\n\n"
    return head + "".join(f"- [{title}]({name})\n" for name, title in titles)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, uri in PAGES.items():
        if path.endswith(".md") and path != "README.md":
            files.append(File.generated(config, uri, content=(ROOT / path).read_text()))
    files.append(File.generated(config, PAGES["docs/design"], content=list_of_decisions()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as the site wants them."""
    here = page.file.src_uri
    source = f"docs/{here}"
    if not (ROOT / source).exists():
        source = next((path for path, uri in PAGES.items() if uri == here and (ROOT / path).is_file()), source)
    code = [match.span() for match in CODE.finditer(markdown)]

    def replaced(match: re.Match[str]) -> str:
        # A link's text may be code, so a link is inside code only where code begins before it.
        if any(start < match.start() < end for start, end in code):
            return match[0]
        target, mark, anchor = match["target"].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        uri = PAGES.get(path) or path.removeprefix("docs/")
        if path.startswith("docs/") or path in PAGES:
            # mkdocs itself says which of these do not exist.
            return f"[{match['text']}]({posixpath.relpath(uri, posixpath.dirname(here) or '.')}{mark}{anchor})"
        return match["text"] if (ROOT / path).exists() else match[0]

    return LINK.sub(replaced, markdown)
