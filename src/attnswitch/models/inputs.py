"""Turn pictures and a prompt into what a model takes; everything wrong with them is one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from attnswitch.errors import AttnSwitchError, MissingExtraError, ModelInputError
from attnswitch.models.load import LoadedModel

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = Union[str, Path, "Image"]
# Makes the second prompt of a padded batch longer than the first.
LONGER = " Answer in one short sentence, please."


def prepare_inputs(
    loaded: LoadedModel, images: Sequence[Picture], prompt: str, *, max_new_tokens: int = 0
) -> Mapping[str, Any]:
    """One prompt with its pictures, on the model's device and in its dtype.

    `input_ids` and `attention_mask` are [1, T]; what the pictures become is the processor's.
    The prompt goes through the chat template; one that holds the model's image token itself
    (one for each picture) is taken as it stands.

    Raises:
        ModelInputError: a picture cannot be read, or the prompt, the pictures' tokens and
            `max_new_tokens` exceed the model's context.
    """
    return _batch(loaded, images, [prompt], max_new_tokens)


def padded_batch(
    loaded: LoadedModel, images: Sequence[Picture], prompt: str, *, max_new_tokens: int = 0
) -> Mapping[str, Any]:
    """The prompt twice in one batch, the second longer, so that the first is padded on the left.

    `input_ids` and `attention_mask` are [2, T]; every picture is given twice.
    """
    return _batch(loaded, images, [prompt, prompt + LONGER], max_new_tokens)


def open_picture(picture: Picture) -> Image:
    """A picture as RGB, turned as its EXIF orientation says.

    Raises:
        ModelInputError: there is no such file, or it holds no picture.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError("pillow", "models", "reading pictures") from error
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    _require_file(picture)
    try:
        with Image.open(picture) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except UnidentifiedImageError:
        raise ModelInputError(f"{picture} is not a picture that Pillow can read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ModelInputError(f"the picture {picture} cannot be read: {error}") from error


def _require_file(picture: str | Path) -> None:
    if str(picture).startswith(("http://", "https://")):
        raise ModelInputError(f"{picture} is an address; download the picture and give the file")
    path = Path(picture)
    if path.is_dir():
        raise ModelInputError(f"{picture} is a folder, not a picture")
    if not path.exists():
        raise ModelInputError(f"there is no picture {picture}")


def _batch(
    loaded: LoadedModel, images: Sequence[Picture], prompts: list[str], max_new_tokens: int
) -> Mapping[str, Any]:
    if not prompts[0].strip():
        raise ModelInputError("the prompt is empty")
    opened = [open_picture(picture) for picture in images]
    texts = [_as_text(loaded, len(opened), prompt) for prompt in prompts]
    pictures = [opened for _ in prompts] if opened else None
    with _padding_left(loaded.processor), _in_words(loaded), _no_word_of_length():
        batch = loaded.processor(
            images=pictures, text=texts, padding=len(texts) > 1, return_tensors="pt"
        )
    _check_length(loaded, batch["input_ids"], len(opened), max_new_tokens)
    return batch.to(loaded.model.device, loaded.model.dtype)


def image_token(processor: Any) -> str:
    """The text that stands for a picture in this processor's prompts."""
    for owner in (processor, getattr(processor, "tokenizer", None)):
        token = getattr(owner, "image_token", None)
        if token:
            return str(token)
    return "<image>"


def _as_text(loaded: LoadedModel, pictures: int, prompt: str) -> str:
    """The prompt as the model wants it: by its chat template, or with bare image tokens."""
    token = image_token(loaded.processor)
    written = prompt.count(token)
    if written:
        if written != pictures:
            given = "1 picture is" if pictures == 1 else f"{pictures} pictures are"
            times = "once" if written == 1 else f"{written} times"
            raise ModelInputError(f"the prompt holds {token} {times}, but {given} given")
        return prompt
    if _has_chat_template(loaded.processor):
        parts = [{"type": "image"}] * pictures + [{"type": "text", "text": prompt}]
        turn = [{"role": "user", "content": parts}]
        return loaded.processor.apply_chat_template(
            turn, add_generation_prompt=True, tokenize=False
        )
    return f"{token}\n" * pictures + prompt


def _has_chat_template(processor: Any) -> bool:
    return bool(getattr(processor, "chat_template", None))


@contextmanager
def _padding_left(processor: Any) -> Iterator[None]:
    """Pad on the left, with some token, for as long as it lasts: generation needs the left."""
    tokenizer = processor.tokenizer
    side, pad = tokenizer.padding_side, tokenizer.pad_token
    tokenizer.padding_side = "left"
    if pad is None:
        tokenizer.pad_token = tokenizer.eos_token
    try:
        yield
    finally:
        tokenizer.padding_side = side
        if pad is None:
            tokenizer.pad_token = None


@contextmanager
def _no_word_of_length() -> Iterator[None]:
    """The tokenizer warns of long prompts in words of its own; `_check_length` is what tells."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextmanager
def _in_words(loaded: LoadedModel) -> Iterator[None]:
    """Say which model could not take the pictures and the prompt."""
    try:
        yield
    except AttnSwitchError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelInputError(
            f"the processor of {loaded.name} ({type(loaded.processor).__name__}) cannot take "
            f"this input: {first}"
        ) from error


def _check_length(loaded: LoadedModel, ids: Any, pictures: int, max_new_tokens: int) -> None:
    limit = context_length(loaded.model)
    tokens = int(ids.shape[-1])
    if limit is None or tokens + max_new_tokens <= limit:
        return
    of_pictures = _picture_tokens(loaded, ids) if pictures else 0
    noun = "picture" if pictures == 1 else "pictures"
    share = f" ({of_pictures} of them for {pictures} {noun})" if of_pictures else ""
    new = f" and {max_new_tokens} new ones make {tokens + max_new_tokens}" if max_new_tokens else ""
    raise ModelInputError(
        f"the prompt takes {tokens} tokens{share}{new}, but the context of {loaded.name} holds "
        f"{limit}: shorten the prompt, give fewer pictures, or ask for fewer new tokens"
    )


def context_length(model: Any) -> int | None:
    """How many tokens the language model can attend to, or None where its config does not say."""
    config = model.config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def _picture_tokens(loaded: LoadedModel, ids: Any) -> int:
    """Image tokens in the longest prompt of `ids` [N, T]."""
    number = getattr(loaded.model.config, "image_token_id", None)
    if number is None:
        number = getattr(loaded.model.config, "image_token_index", None)
    return 0 if number is None else int((ids == number).sum(dim=-1).max())
