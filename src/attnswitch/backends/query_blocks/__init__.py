"""Standard attention in blocks of query rows: whole-row softmax, fp32 scores, linear memory."""

from __future__ import annotations

from attnswitch.backends.query_blocks.api import blockwise, blockwise_varlen

__all__ = ["blockwise", "blockwise_varlen"]
