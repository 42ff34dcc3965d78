"""Opening a model folder with the engine that its card names."""

import os
from pathlib import Path

from stages.models.card import EnvironmentsCard, FileCard, LocalCard, read_card
from stages.models.chat import ChatModel


def open_model(folder: Path) -> ChatModel:
    """Return the model in `folder`, ready to answer.

    Addresses, keys, concurrency and the place of the call log come from the environment: none of
    them changes what a model is.

    Raises:
        UserError: no such folder, a damaged card, or what the engine itself refuses.
    """
    card = read_card(folder)
    if isinstance(card, EnvironmentsCard):
        from stages.models.environments import EnvironmentsModel

        return EnvironmentsModel(card, folder, open_model)
    if isinstance(card, LocalCard) and card.engine == "vllm":
        from stages.models.vllm_engine import VllmModel

        return VllmModel(card, folder)
    if isinstance(card, LocalCard):
        from stages.models.transformers_engine import TransformersModel

        return TransformersModel(card, folder)
    if isinstance(card, FileCard):
        from stages.models.file_engine import FileModel

        return FileModel(card, folder)
    from stages.models.call_log import default_log
    from stages.models.openai_engine import OpenAIModel

    return OpenAIModel(card, default_log(os.environ), os.environ)
