"""How large a block is, and how many workers share a call."""

from __future__ import annotations

from typing import NamedTuple

import torch

# One worker's scores: 1 Mi elements, 4 MiB in fp32. On a core with 1.25 MiB of L2 (Ice Lake) blocks
# of 256 to 450 rows (query rows × heads of a group) ran fastest, blocks of 64 took 1.25 to 1.4
# times as long (each product reads all keys again), and above 512 rows the softmax slowed down: so
# rows are bounded by ROWS. More keys than PIECE_KEYS come in pieces, which bounds memory; on a core
# with 512 KiB of L2 (Zen 3) pieces of 512, 1,024 and 2,048 keys took 1.05, 1.03 and 1.00 times
# FlashAttention's time at 2,980 tokens, and 1.06, 1.03 and 1.09 at 7,290: within the noise.
SCORE_ELEMENTS = 1 << 20
ROWS = 448
PIECE_KEYS = 1024
# The backward pass needs whole rows: with it a call of 16,384 tokens took 25.8 ns a score with
# 1 Mi elements, 22.4 with 2 Mi, 21.5 with 4 Mi (Zen 3), of which there are two buffers a worker.
WHOLE_ROW_ELEMENTS = 1 << 21
# Keys and values are made contiguous and fp32 once a head where that takes at most 2 MiB each, and
# otherwise this many at a time, again for every block, which bounds memory.
PACKED_ELEMENTS = 1 << 19
CHUNK_KEYS = 1024
# A decoded token has so few rows that the keys are the work: as many heads as their copies allow
# share one batched product, instead of one Python step a head.
FEW_ROWS = 16
# Below this many multiply-adds (some 40 ms of two cores) a call is not handed to workers: several
# heads share one batched product, and PyTorch's own threads share each operation. They still spin
# from the model's last product, and workers would wait for a core. After a product, on two Zen 3
# cores, in parts of FlashAttention's time with workers and shared: Qwen2-0.5B's heads at 256 tokens
# 2.32 and 1.21 (with gradients 1.87 and 1.05), at 640 1.29 and 1.02, at 2,980 (8e9) 1.07 and 1.24;
# CLIP-L 1.71 and 1.29. Blocks of 256 rows and of 2 Mi or 4 Mi scores were within the noise.
SHARED_FLOPS = 2.5e9
SHARED_ROWS = 128
# On a GPU all heads run in one batched product; 64 Mi elements are 256 MiB of fp32 scores.
CUDA_SCORE_ELEMENTS = 1 << 26


class BlockSize(NamedTuple):
    """What one block computes: query rows, key-value heads, heads of a group; keys of one copy.

    Its scores exist for ``piece`` keys at a time.
    """

    rows: int
    groups: int
    heads: int
    chunk: int
    piece: int


def choose_block_size(
    q_BHTD: torch.Tensor,
    k_BGSD: torch.Tensor,
    block_rows: int,
    whole_rows: bool,
    device: str | None = None,
) -> BlockSize:
    """Choose from the shapes alone: whoever asks in the same way gets the same blocks.

    ``block_rows`` above 0 is the caller's wish for the rows of a block. ``whole_rows``: the scores
    of a row are all needed at the same time, as in the backward pass. ``device`` is the type of
    device to choose for, where the tensors only stand for others: by default their own.
    """
    H, T = q_BHTD.shape[1:3]
    G, S = k_BGSD.shape[1:3]
    if (device or q_BHTD.device.type) != "cpu":
        rows = block_rows or max(1, min(T, CUDA_SCORE_ELEMENTS // max(1, H * S)))
        return BlockSize(rows, G, H // G, S, S)
    if T * (H // G) <= FEW_ROWS:
        groups = max(1, min(G, PACKED_ELEMENTS // max(1, S * q_BHTD.shape[3])))
        rows, heads = block_rows or max(1, T), H // G
        return BlockSize(rows, groups, heads, S, S)
    if _is_shared(q_BHTD, k_BGSD):
        return _shared_size(q_BHTD, k_BGSD, block_rows, whole_rows)
    piece = S if whole_rows else min(S, PIECE_KEYS)
    budget = WHOLE_ROW_ELEMENTS if whole_rows else SCORE_ELEMENTS
    total = max(8, min(ROWS, budget // max(1, piece)))
    heads = min(H // G, max(1, total // 4))
    rows = max(1, min(T, total // heads))
    if heads == 1:
        rows = min(rows, 320)
    rows = block_rows or _evenly(T, rows)
    chunk = S if q_BHTD.shape[3] * S <= PACKED_ELEMENTS else CHUNK_KEYS
    return BlockSize(rows, 1, heads, chunk, piece)


def _is_shared(q_BHTD: torch.Tensor, k_BGSD: torch.Tensor) -> bool:
    B, H, T, D = q_BHTD.shape
    return B * H * T * D * k_BGSD.shape[2] < SHARED_FLOPS


def _shared_size(
    q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, block_rows: int, whole_rows: bool
) -> BlockSize:
    """Choose for a small call: few rows, so that causal blocks stay short, of many heads."""
    H, T, D = q_BHTD.shape[1:]
    G, S = k_BGSD.shape[1:3]
    piece = S if whole_rows else min(S, PIECE_KEYS)
    total = max(1, SCORE_ELEMENTS // piece)
    heads = min(H // G, total)
    rows = block_rows or _evenly(T, min(SHARED_ROWS, max(1, total // heads)))
    packed = 2 * PACKED_ELEMENTS
    groups = _evenly(G, min(total // (rows * heads), packed // max(1, S * D)))
    return BlockSize(rows, groups, heads, S if groups * S * D <= packed else CHUNK_KEYS, piece)


def _evenly(total: int, most: int) -> int:
    """Return the size of the parts if ``total`` is cut into as few as hold ``most`` at most."""
    parts = -(-total // max(1, most))
    return -(-total // parts)


def choose_workers(q_BHTD: torch.Tensor, k_BGSD: torch.Tensor, device: str | None = None) -> int:
    """Return how many threads a call is worth: PyTorch's own number, or one."""
    if (device or q_BHTD.device.type) != "cpu" or _is_shared(q_BHTD, k_BGSD):
        return 1
    return torch.get_num_threads()
