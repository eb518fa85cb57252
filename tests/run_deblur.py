"""`python run_deblur.py TEXT ARGUMENTS...`: deblur in a process of its own, with TEXT for weights.toml."""

import sys

from deblur_cli import registry

entries = registry.parse_registry(sys.argv[1])
registry.load_registry = lambda: entries

from deblur_cli.__main__ import main  # noqa: E402  # it must find the other registry

sys.argv[1:] = sys.argv[2:]
main()
