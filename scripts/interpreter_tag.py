"""Print a tag for the running interpreter, or say why Ferrio cannot be built for it."""

import sys

OLDEST = (3, 11)
NEWEST = (3, 15)


def main():
    version = sys.version_info[:2]
    if sys.implementation.name != "cpython" or not OLDEST <= version <= NEWEST:
        sys.exit(
            f"Ferrio supports CPython {OLDEST[0]}.{OLDEST[1]} - {NEWEST[0]}.{NEWEST[1]}; "
            f"{sys.executable} is {sys.implementation.name} {version[0]}.{version[1]}."
        )
    if not sys.platform.startswith("linux"):
        sys.exit(f"Ferrio runs on Linux for now; this is {sys.platform}.")

    threads = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else "t"
    # A debug build loads modules that were built for it alone; the letter is that of its ABI flags.
    debug = "d" if hasattr(sys, "gettotalrefcount") else ""
    print(f"cpython-{version[0]}.{version[1]}{threads}{debug}")


if __name__ == "__main__":
    main()
