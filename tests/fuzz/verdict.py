"""What an ending of a child says: nothing, or which fault was found."""

import re
import signal

from fuzz.child import Ending

#: Rust's last words when it gets no memory, with how much it wanted.
ALLOCATION = re.compile(r"memory allocation of (\d+) bytes failed")
#: Who gets not even so much has none left: what a program keeps is its own business.
LEAST_ALLOCATION = 1 << 20
#: What a child's output must not have, each with what names the fault.
PATTERNS = [
    ("sanitizer", re.compile(r"ERROR: AddressSanitizer: ([\w-]+)(?:.*\n)+?\s*#0 \S+ in (\S+)")),
    ("panic", re.compile(r"panicked at ([^\n]*)(?:\n([^\n]*))?")),
    ("bug", re.compile(r"(Ferrio has a bug[^\n]*)")),
    ("error", re.compile(r"MUST NOT BE: ([^\n]*)")),
    ("fatal", re.compile(r"Fatal Python error: (?!Segmentation|Aborted|Bus|Illegal|Floating)([^\n]*)")),
    ("assertion", re.compile(r"([\w.]+:\d+: [^\n]*Assertion `[^\n]*)")),
    ("runtime", re.compile(r"fatal runtime error: ([^\n]*)")),
    ("memory", re.compile(r"memory allocation of \d+ (bytes failed)")),
    ("growth", re.compile(r"GROWS: (\w+)")),
]


def starved(ending: Ending) -> str | None:
    """What ended a child for which there was no memory left; None when nothing of the kind did."""
    if ending.code == -signal.SIGKILL and not ending.hung:
        return "killed from outside"
    match = ALLOCATION.search(ending.said)
    if match is not None and int(match[1]) < LEAST_ALLOCATION:
        return "no memory left"
    return None


def verdict(ending: Ending) -> str | None:
    """The name of the fault that ended the child, the same for the same fault; None when there was none."""
    if starved(ending) is not None:
        return None
    found = []
    for name, pattern in PATTERNS:
        match = pattern.search(ending.said)
        if match is not None:
            text = " ".join(piece.strip() for piece in match.groups() if piece)
            found.append(f"{name}: {re.sub(r'0x[0-9a-f]+', '0x', text)[:160]}")
    if ending.hung:
        return "hang"
    if ending.code < 0:
        found.append(f"killed by {signal.Signals(-ending.code).name}")
    elif ending.code:
        found.append(f"the fuzzer failed with {ending.code}")
    return ", ".join(found) or None


#: A frame of an extension module in the trace that CPython 3.14 writes when it is killed.
FRAME = re.compile(r'Binary file "[^"]*/(_ferrio|_asyncio)[^"]*", at (\S*)')


def place(ending: Ending) -> str:
    """Where the child was when it was killed, as far as that can be said: the same for the same fault."""
    frames = [f"{name}{at}" for name, at in FRAME.findall(ending.said)[:2]]
    if frames:
        return " ".join(frames)
    return "".join(re.findall(r"File \"[^\"]*\", line \d+ in \S+", ending.said)[:1])


def waits_elsewhere(ending: Ending) -> bool:
    """Whether a child that was ended had nothing of Ferrio's under way, as far as CPython 3.14 and later say it."""
    return "C stack trace" in ending.said and "/_ferrio" not in ending.said
