"""Architecture, tokenizer and processor of the built-in LLaVA: everything but its weights."""

from __future__ import annotations

import math
import random
from itertools import islice

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from attnswitch.models import scenes

PATCH = 14
PATCHES_PER_SIDE = scenes.PICTURE_SIDE // PATCH
# The tokenizer learns from fuller scenes too, so that it knows every number.
MOST_THINGS_IN_TEXT = 5
IMAGE_TOKENS = PATCHES_PER_SIDE**2
VISION_WIDTH = 128
VISION_HEADS = 4
TEXT_WIDTH = 128
CONTEXT = 2048

PAD, BOS, EOS, IMAGE = "<pad>", "<s>", "</s>", "<image>"
USER_PREFIX = "USER: <image>\n"
ASSISTANT_PREFIX = " ASSISTANT:"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{{ message['content'][0]['text'] }}{% endif %}{{ ' ' }}"
    "{% elif message['role'] == 'user' %}"
    "{{ 'USER: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ ' ASSISTANT: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}{{ '</s>' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}"
)


def build_tokenizer(scene_count: int = 4000) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on generated dialogues: each word of the toy world is one token.

    Any other text falls apart into bytes, so no prompt is out of vocabulary.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=768,
        min_frequency=20,
        special_tokens=[PAD, BOS, EOS, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_dialogues(scene_count), trainer)
    bos_id = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos_id)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens={"image_token": IMAGE},
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _dialogues(scene_count: int) -> list[str]:
    lines = []
    for seed in islice(scenes.training_seeds(most=MOST_THINGS_IN_TEXT), scene_count):
        scene = scenes.make_scene(seed, most=MOST_THINGS_IN_TEXT)
        for question in [*scenes.ask_all(scene), scenes.ask(scene, "describe")]:
            turn = f"{question.text} ASSISTANT: {question.answer}"
            lines.append(f"USER: \n{turn}")
            lines.append(f"USER: {turn}")
            lines.append(f"USER: {casual(question.text)}")
    return lines


def casual(question: str) -> str:
    """The question as people type it: lower case, no mark at the end."""
    return question.lower().rstrip("?.")


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """CLIP's image processor at 336 x 336 and the tokenizer: 576 image tokens a picture."""
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": scenes.PICTURE_SIDE},
        crop_size={"height": scenes.PICTURE_SIDE, "width": scenes.PICTURE_SIDE},
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def build_config(tokenizer: PreTrainedTokenizerFast) -> LlavaConfig:
    """LLaVA-1.5's configuration with small widths; its Llama has grouped-query attention."""
    vision = CLIPVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=4 * VISION_WIDTH,
        num_hidden_layers=5,
        num_attention_heads=VISION_HEADS,
        image_size=scenes.PICTURE_SIDE,
        patch_size=PATCH,
        projection_dim=VISION_WIDTH,
        hidden_act="quick_gelu",
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.05,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=IMAGE_TOKENS,
        projector_hidden_act="gelu",
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
        dtype="float32",
    )


def build_model(config: LlavaConfig, seed: int) -> LlavaForConditionalGeneration:
    """An untrained fp32 model; the tower starts out looking near and within cells."""
    torch.manual_seed(seed)
    random.seed(seed)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    tower = model.model.vision_tower
    with torch.no_grad():
        for layer in tower.encoder.layers:
            for weight in (w for w in layer.parameters() if w.ndim == 2):
                torch.nn.init.xavier_uniform_(weight)
            # Queries and keys start alike, so that patches first look at their neighbours
            # (mimetic initialisation, Trockman and Kolter 2023, arXiv:2305.09828).
            for projection in (layer.self_attn.q_proj, layer.self_attn.k_proj):
                projection.weight.mul_(0.3).add_(0.9 * torch.eye(VISION_WIDTH))
        tower.embeddings.patch_embedding.weight.normal_(std=0.4 / math.sqrt(3 * PATCH**2))
        positions = tower.embeddings.position_embedding.weight
        positions.zero_()
        positions[1:] = starting_positions(PATCHES_PER_SIDE, VISION_WIDTH, VISION_HEADS)
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=96,
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
    )
    return model


def starting_positions(side: int, width: int, heads: int) -> torch.Tensor:
    """Position embeddings to start from: [side * side, width], fp32, unit variance.

    The first half of the heads gets sines and cosines of row and column, the second half one
    orthogonal sign pattern for each cell of the scenes' grid: where queries and keys start alike,
    the former look at neighbours, the latter at their own cell.
    """
    per_head = width // heads
    half = heads // 2
    # Wavelengths from two patches to four pictures, dealt out to the heads in turn.
    frequencies = math.pi * torch.logspace(0, -math.log10(4 * side), half * per_head // 4)
    angles = torch.arange(side, dtype=torch.float32)[:, None] * frequencies
    waves = torch.stack([angles.sin(), angles.cos()], dim=1).view(side, 2, per_head // 4, half)
    waves = waves.permute(0, 3, 1, 2).reshape(side, half, per_head // 2)
    rows = waves[:, None].expand(side, side, half, -1)
    columns = waves[None, :].expand(side, side, half, -1)
    near = torch.cat([rows, columns], dim=-1).reshape(side * side, half * per_head) * math.sqrt(2)

    cell = torch.arange(side) * scenes.GRID_SIDE // side
    cell_of_patch = (cell[:, None] * scenes.GRID_SIDE + cell[None, :]).flatten()
    patterns = sign_patterns(per_head)[1 : scenes.GRID_SIDE**2 + 1]
    return torch.cat([near, patterns[cell_of_patch].repeat(1, heads - half)], dim=1)


def sign_patterns(size: int) -> torch.Tensor:
    """Sylvester's Hadamard matrix [size, size]: rows of +1 and -1, orthogonal to each other."""
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix
