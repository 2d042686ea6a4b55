"""Bad peers of TLS, one after another for as long as one likes: both engines against asyncio's own class.

    python tests/stress/tls_fuzz.py --minutes 60 [--seed 1]

Each seed is a connection of ``tests/unit/test_tls_bad_peers.py``: server or client, TLS 1.2 or 1.3, a protocol or a
buffered one, and a peer that commits one fault at one step. asyncio's class, Ferrio's with the engine in Python and
Ferrio's with the native one play it. Their events, states, exceptions, log records and reports to the loop's
exception handler must be the same, and no descriptor may stay behind. A seed that differs is printed with the first
difference, and the exit status is 1; ``--seed N --minutes 0`` plays that one again.
"""

import argparse
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ferrio import _tls
from frameworks.certificates import Certificates, make_certificates
from unit.loops import new_loop, open_descriptors
from unit.test_tls_bad_peers import BadPeer, logged
from unit.test_tls_engines import ENGINES, reported


class Kept(logging.Handler):
    """The log records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def play(engine: str, seed: int, certificates: Certificates, log: Kept) -> list[Any]:
    """All that a program sees of one connection."""
    protocol_class, _tls.FORCED = ENGINES[engine]
    contexts: list[dict[str, Any]] = []
    log.records.clear()
    loop = new_loop()
    try:
        loop.set_exception_handler(lambda _, context: contexts.append(context))
        loop.set_debug(seed % 3 == 0)
        course = BadPeer(loop, protocol_class, certificates, seed).course()
    finally:
        loop.close()
    return [*course, ("reported", reported(contexts)), ("logged", logged(log.records))]


def differences(seed: int, certificates: Certificates, log: Kept) -> Iterator[str]:
    before = len(open_descriptors())
    expected = play("asyncio", seed, certificates, log)
    for engine in ("python", "native"):
        for ours, theirs in itertools.zip_longest(play(engine, seed, certificates, log), expected):
            if ours != theirs:
                yield f"seed {seed}, engine {engine}:\n  {ours}\n  asyncio:\n  {theirs}"
                break
    if (after := len(open_descriptors())) != before:
        yield f"seed {seed}: {after - before} descriptors stayed open"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1, help="the first one; each is the one before and 1")
    options = parser.parse_args()
    log = Kept()
    logger = logging.getLogger("asyncio")
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    end, failed = time.monotonic() + options.minutes * 60, 0
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder))
        for seed in itertools.count(options.seed):
            for difference in differences(seed, certificates, log):
                failed += 1
                print(difference, flush=True)
            if time.monotonic() >= end:
                break
    print(f"seeds {options.seed} - {seed}: {failed} differences")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
