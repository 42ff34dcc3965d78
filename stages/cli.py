"""What every stage's command line shares: one clear line for a user's mistake."""

import argparse
import gc
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from stages.errors import UserError


def make_parser(module: str, docstring: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the module's docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=docstring,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> NoReturn:
    """Parse the command line, run `main`, and exit: 0, 1 for a user's mistake, 130 on Ctrl-C."""
    args = parser.parse_args()
    # What libraries make as they are imported, a million objects, stays: looking for garbage among
    # them at every few hundred new ones, and once more at the end, takes seconds.
    gc.set_threshold(100_000)
    if not sys.stderr.isatty():
        # Also silences the bars that libraries draw.
        os.environ.setdefault("TQDM_DISABLE", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        main(args)
        gc.freeze()
    except UserError as error:
        _complain(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.filename is None:
            raise
        _complain(f"{error.filename2 or error.filename}: {error.strerror}")
    sys.exit(0)


def _complain(text: str) -> NoReturn:
    """Exit with one line, even where the text quotes a name with line ends in it."""
    print("error:", *text.splitlines(), file=sys.stderr)
    sys.exit(1)
