"""`python run_deblur.py TEXT ARGUMENTS...`: deblur in a process of its own, with TEXT for weights.toml."""

import sys

from deblur_cli import registry

entries = registry.parse_registry(sys.argv[1])
registry.load_registry = lambda: entries

from deblur_cli.cli import main  # noqa: E402  # it must find the other registry

main(sys.argv[2:])
