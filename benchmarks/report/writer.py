"""Writes the report's files, and copies them to where they are published."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import verdict

from . import plots, rows, tables

PAGE = "report.md"
RESULTS = "results.json"


class NotForQuoting(Exception):
    """The results must not be published; the argument says why."""


def save(results: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path


def load(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((folder / RESULTS).read_text())
    return results


def write(results: Mapping[str, Any], folder: Path) -> tuple[list[Path], str | None]:
    """Write page and plots; return their paths, and a sentence when there are no plots."""
    drawn: list[tuple[str, str]] = []
    problem = None
    try:
        drawn = plots.draw_all(results, folder)
    except ImportError:
        problem = "No plots: matplotlib is not installed (python -m pip install --group bench)."
    page = folder / PAGE
    page.write_text(tables.page(results, drawn))
    return [page, *(folder / name for name, _ in drawn)], problem


def publish(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the report and the results into *folder*, in place of the plots that are there.

    Raises:
        NotForQuoting: The results are not fit for it; nothing is written.
    """
    reasons = verdict.against_quoting(results)
    if reasons:
        raise NotForQuoting(" ".join(reasons))
    if importlib.util.find_spec("matplotlib") is None:
        raise NotForQuoting("The report would lack its plots: matplotlib is not installed.")
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*(picture.file for picture in plots.PICTURES), rows.FILE):
        (folder / file).unlink(missing_ok=True)
    written, _ = write(results, folder)
    return [save(results, folder), *written]
