"""The package seam: `flash_attn` and `xformers.ops`, answered by our backends.

Code that calls these packages directly reaches attention through neither transformers nor
PyTorch's operator. While a request is in force (`hold` … `release`):

- a package that is missing, or that does not import, is replaced by a stand-in (an import finder);
- in a package that works, the attention functions are replaced, wherever they were imported to.

Which backend computes a call is looked up at each call, in `attnswitch.intent`. Package metadata is
never faked. Every import that got a stand-in is kept in `activations`, with its line.

    placing/          how the functions get there, and away again
    flash_attn_api/   flash_attn's public functions, thin skins over `attention`
    xformers_api/     the same for xformers.ops
    attention/        one call as data, carried out by the backend in force

Importing this package imports no torch.
"""

from __future__ import annotations

from attnswitch.seams.package.placing.activations import Activation, activations
from attnswitch.seams.package.placing.install import hold, release

__all__ = ["Activation", "activations", "hold", "release"]
