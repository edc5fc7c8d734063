"""`python -m mtsql_lib <command>`: each command is a module's `add_arguments` and `main`, imported when it
is called.

What a person can mend ends in one sentence on standard error and exit code 2; anything else is a mistake of
the kit and keeps its traceback.
"""

import sys
from argparse import ArgumentParser, HelpFormatter
from functools import partial
from importlib import import_module

from mtsql_lib.errors import KitError, disk_fault

COMMANDS = {
    "reproduce": ("runner", "run the five notebooks of a profile; what is done already is skipped"),
    "score": ("scoring", "score a file of predicted SQL as Spider's evaluator does"),
    "evaluate": ("evaluate", "play a development set with a model, or replay its gold queries"),
    "claims": ("claims", "train and play what MTSQL-R1's takeaways need, and test them"),
    "report": ("report", "write the report of a run"),
    "data": ("corpus", "build the bundled corpora"),
    "base": ("base.pretrain", "pre-train the tiny base model"),
    "doctor": ("doctor", "check the installation, the data and the machine"),
}


def main(argv: list[str]) -> int:
    """Run one command; the exit code is 0, 1 for a negative answer, or 2 for what the user has to mend."""
    if not argv or argv[0] not in COMMANDS:
        return _usage(argv)
    try:
        command = import_module(f"mtsql_lib.{COMMANDS[argv[0]][0]}")
        parser = ArgumentParser(
            f"python -m mtsql_lib {argv[0]}",
            description=COMMANDS[argv[0]][1],
            formatter_class=partial(HelpFormatter, width=100),  # asking the terminal takes milliseconds
        )
        command.add_arguments(parser)
        return command.main(parser.parse_args(argv[1:])) or 0
    except KitError as fault:
        print(fault, file=sys.stderr)
    except OSError as fault:
        if (mendable := disk_fault(fault)) is None:
            raise
        print(mendable, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 2


def _usage(argv: list[str]) -> int:
    wrong = bool(argv) and argv[0] not in ("-h", "--help")
    out = sys.stderr if wrong else sys.stdout
    if wrong:
        print(f"unknown command {argv[0]}", file=out)
    print("python -m mtsql_lib <command> [--help]", file=out)
    for name, (_, purpose) in COMMANDS.items():
        print(f"  {name:<10} {purpose}", file=out)
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
