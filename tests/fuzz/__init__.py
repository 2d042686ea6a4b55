"""A fuzzer of the native types: `python tests/fuzz --help`; README.md says how it works."""
