"""The flags that every stage which asks a model has."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser, out: str, template: bool = True) -> None:
    """Add params, model, prompt and outputs; `out` says what is written.

    A stage that may also work without a template takes False, and checks for itself.
    """
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--model", type=Path, required=True, help="model folder of who is asked")
    parser.add_argument(
        "--base", type=Path, help="model folder that `model` was trained from, if it was"
    )
    parser.add_argument("--template", type=Path, required=template, help="prompt (Jinja)")
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument("--calls", type=Path, required=True, help="raw answers to write (JSONL)")
    parser.add_argument("--facts", type=Path, required=True, help="run facts to write (JSON)")
