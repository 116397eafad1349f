"""The command line as a module: ``python -m plimsoll``."""

from plimsoll.cli.app import main

main()
