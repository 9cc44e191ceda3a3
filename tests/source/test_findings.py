"""Each mechanism is found where it is, and lookalikes are not."""

# ruff: noqa: E501 - a snippet is easier to read on one line
from __future__ import annotations

import pytest

from attnswitch.source import scan

NOT_FINDINGS = {
    "a comment says nothing": "# attn_implementation='flash_attention_2'\nx = 1\n",
    "a docstring says nothing": '"""Use attn_implementation="flash_attention_2"."""\n',
    "a printed sentence says nothing": "print('flash_attention_2 is not installed')\n",
    "reading an internal of transformers": "y = m._flash_attn_uses_top_left_mask\n",
    "window size is no switch": "flash_supports_window_size = True\n",
    "a model called flash": "model = 'gemini-1.5-flash'\n",
    "a tensor called flash_x": "def f(flash_x, s):\n    return flash_x * s\n",
    "comparing an implementation decides a mask, not a kernel": (
        "def f(c):\n    return 1 if c._attn_implementation == 'flash_attention_2' else 0\n"
    ),
    "a test that reads a switch with a default asks nothing": (
        "def f(c, **k):\n    if k.get('use_flash_attention_2', False):\n        print(1)\n"
        "    return 1 if not getattr(c, '_flash_attn_2_enabled', False) else 0\n"
    ),
    "checking the spelling demands nothing": (
        "def f(a):\n    if a not in ['torch', 'flash']:\n        raise ValueError(a)\n"
    ),
    "a dictionary that a parameter has by default": (
        "def f(self, attn_config={'attn_impl': 'triton', 'clip': None}, *, b={'attn_impl': 1}):\n"
        "    return attn_config['clip']\n"
    ),
    "a norm's forward is not attention": "import t\nt.LlamaRMSNorm.forward = fast_norm\n",
    "comparing numbers demands no kernel": (
        "import torch\nassert torch.allclose(flash_ref_out, out), 'differs'\n"
    ),
    "a buffer for results": "global_flash_attn_out_buffer = None\n",
    "FlexAttention is another matter": (
        "class M:\n    _supports_flex_attn = False\n    _supports_attention_backend = True\n"
    ),
    "a class that only bears the name": (
        "class CheckpointWithFlashAttention(Function):\n    def forward(self, x):\n"
        "        return self.layer(x)\ny = CheckpointWithFlashAttention.apply(x)\n"
    ),
    "a mask without any kernel": (
        "import types\ndef convert(m):\n    def mask(self, x):\n        return x\n"
        "    m._prepare_decoder_attention_mask = types.MethodType(mask, m)\n"
    ),
    "a forward with an argument filled in is not a patch": (
        "from functools import partial\nmodel.forward = partial(model.orig_forward, boxes=b)\n"
        "attn_mask = 0\n"
    ),
    "an own forward attribute is not a patch": (
        "class A:\n    def f(self):\n        self.attn.forward = None\n"
    ),
    "a replacement without any kernel": (
        "import t\ndef plain(self, x):\n    return x\nt.LlamaAttention.forward = plain\n"
    ),
    "a function of the tree that bears the name of PyTorch's": (
        "def scaled_dot_product_attention(q, k):\n    return q @ k\n"
        "y = scaled_dot_product_attention(q, k)\n"
    ),
    "a dropout rate": "def f(s, attn_drop):\n    s.xattn_drop = attn_drop\n",
    "a memory called flash": (
        "def f(flash_memory_length):\n    assert flash_memory_length % 2 == 0, 'even'\n"
    ),
    "a path patched by name that is no attention": "manager.patch('models.llama.LlamaMLP.forward', f)\n",
    "reading what somebody set, or an empty text": (
        "def f(k):\n    return 'flash' in k.get('attn_implementation', '')\n"
    ),
    "infused is not fused": "def f(position_infused_attn=False):\n    return position_infused_attn\n",
    "a table of kinds of attention that names no kernel": (
        "X_ATTENTION_CLASSES = {'selfattn': A, 'rel_selfattn': B}\n"
        "def f(kind):\n    return X_ATTENTION_CLASSES[kind](), X_ATTENTION_CLASSES.get('selfattn')\n"
    ),
    "a dataset flag": "load(image_folder='x', attention_mask=m, attn_dropout=0.1)\n",
}

FINDINGS = {
    "keyword": ("M.from_pretrained('x', attn_implementation='flash_attention_2')\n", 1),
    "config-write": ("config._attn_implementation = 'flash_attention_2'\n", 1),
    "legacy-keyword": ("M.from_pretrained('x', use_flash_attention_2=True)\n", 1),
    "own-boolean": ("load('x', use_flash_attn=True)\n", 1),
    "own-boolean ": ("block = Block(dim=8, attn_flash=True)\n", 1),
    "own-boolean  ": ("class B:\n    def __init__(self):\n        self.use_fa_flash = False\n", 3),
    "class-registry ": ("def f(c):\n    return X_ATTENTION_CLASSES[c._attn_implementation]()\n", 2),
    "class-registry  ": (
        "X_ATTENTION_CLASSES = {'vanilla': A}\nX_ATTENTION_CLASSES['flash_attention_2'] = B\n",
        2,
    ),
    "class-registry   ": (
        "X_ATTENTION_CLASSES = {'vanilla': A}\nX_ATTENTION_CLASSES.update({'flash': B})\n",
        2,
    ),
    "monkey-patch": ("import t\nt.LlamaAttention.forward = flash_forward\n", 2),
    "monkey-patch ": (
        "import types\nfor layer in model.layers:\n"
        "    layer.self_attn.forward = types.MethodType(flash_forward, layer.self_attn)\n",
        3,
    ),
    "monkey-patch  ": (
        "import t\ndef layer_forward(self, x):\n    return ring(x)\n"
        "def apply_ring_flash_attn_patch():\n    t.LlamaDecoderLayer.forward = layer_forward\n"
        "apply_ring_flash_attn_patch()\n",
        6,
    ),
    "monkey-patch   ": (
        "manager.register_patch('megatron.core.DotProductAttention.forward', flash_forward)\n",
        1,
    ),
    "unguarded-import": ("import os\nfrom flash_attn import flash_attn_func\n", 2),
    "guarded-import": ("try:\n    import flash_attn\nexcept ImportError:\n    pass\n", 2),
    "lazy-import": ("def f():\n    from flash_attn import flash_attn_func\n", 2),
    "option": ("parser.add_argument('--use-flash-attn', action='store_true')\n", 1),
    "environment-variable": ("import os\nx = os.environ.get('USE_FLASH_ATTN')\n", 2),
    "class-registry": ("ATTENTION_CLASSES = {'eager': A, 'flash_attention_2': B}\n", 1),
    "xformers": ("import xformers.ops\n", 1),
    "sdpa-call": ("y = F.scaled_dot_product_attention(q, k, v)\n", 1),
    "sdp-toggle": ("torch.backends.cuda.enable_flash_sdp(False)\n", 1),
    "flash-call": ("y = flash_attn_func(q, k, v)\n", 1),
    "flash-call ": ("m = LlamaSparseFlashAttention2(config=c, layer_idx=0).half()\n", 1),
    "flash-call  ": ("_flash_attn_backward(do, q, k, v, o, lse, dq, dk, dv, 0.0)\n", 1),
    "flash-call   ": (
        "class FlashAttnFunc(Function):\n    def forward(self, q):\n"
        "        return _flash_attn_forward(q, q, q)\ny = FlashAttnFunc.apply(q)\n",
        4,
    ),
    "varlen-packing": ("y = flash_attn_varlen_func(q, k, v, cu_seqlens, cu_seqlens)\n", 1),
    "constructor-override": (
        "class C:\n    def __init__(self, config):\n"
        "        config.attn_implementation = 'flash_attention_2'\n",
        3,
    ),
    "on-if-importable": (
        "a = load(attn_implementation='flash_attention_2' if available() else 'eager')\n",
        1,
    ),
    "assertion": ("def f(c):\n    assert c._attn_implementation == 'flash_attention_2'\n", 2),
    "capability": ("class M:\n    _supports_flash_attn_2 = False\n", 2),
    "dependency": ("import os\nos.system('pip install flash-attn')\n", 2),
    "unreachable-warning": (
        "def f(a, use_flash_attn):\n    use_flash_attn = use_flash_attn and a\n"
        "    if use_flash_attn and not a:\n        print('off')\n",
        3,
    ),
}

TRAPS = {
    "unguarded import": "import flash_attn\n",
    "presence tested instead of value": (
        "def f(c):\n    if hasattr(c, 'use_flash_attn'):\n        go()\n"
    ),
    "flag accepted but dropped": (
        "def load(path, use_flash_attn=False):\n    model = make(path)\n    return model\n"
    ),
    "constructor wins over caller": FINDINGS["constructor-override"][0],
    "unreachable warning": FINDINGS["unreachable-warning"][0],
    "assert": FINDINGS["assertion"][0],
    "inverted variable": (
        "import os\nif os.environ.get('NORM_ATTN') == '1':\n    a = 'flash_attention_2'\n"
        "config.x = 'attn_implementation'\n"
    ),
    "silent fallback": (
        "try:\n    train(attn_implementation='flash_attention_2')\n"
        "except:\n    train(attn_implementation='eager')\n"
    ),
    "silent fallback ": (
        "try:\n    m = M.from_pretrained('x', attn_implementation='flash_attention_2')\n"
        "except Exception:\n    m = M.from_pretrained('x')\n"
    ),
    "ignored since transformers 4.36": "M.from_pretrained('x', use_flash_attention_2=False)\n",
}

OTHER_FILES = {
    "run.sh": ("#!/bin/bash\npip install flash-attn\n", 2, "dependency"),
    "train.sh": ("deepspeed x.py \\\n  --attn_implementation sdpa\n", 2, "shell-flag"),
    "eval.sh": (
        'python -m lmms_eval --model_args pretrained="x/y,use_flash_attention_2=False,d=1"\n',
        1,
        "shell-flag",
    ),
    "env.sh": ("export USE_FLASH_ATTN=1\n", 1, "environment-variable"),
    "config.json": ('{\n "vision": {\n  "use_flash_attn": true\n }\n}\n', 3, "config-field"),
    "model.yaml": ("llm:\n  attn_implementation: flash_attention_2\n", 2, "config-field"),
    "settings.toml": ('[m]\nattn_implementation = "eager"\n', 2, "config-field"),
    "requirements.txt": ("torch\nflash-attn==2.5.7  # fast\n", 2, "dependency"),
    "requirements/wheels.txt": (
        "https://h/x/download/v2/flash_attn-2.5.6+cu118-cp310-linux_x86_64.whl\n",
        1,
        "dependency",
    ),
    "pyproject.toml": (
        '[project]\nname = "x"\ndependencies = [\n  "torch",\n  "flash-attn>=2",\n]\n',
        5,
        "dependency",
    ),
    "Dockerfile": ("FROM x\nRUN pip install a && \\\n    pip install flash-attn\n", 3, "dependency"),
    "b.dockerfile": (
        "FROM x\nRUN pip uninstall -y apex && pip install \\\n    flash-attn\n", 3, "dependency"
    ),
    "c.dockerfile": (
        "FROM x\nRUN <<EOF\npip uninstall -y apex\npip install flash-attn\nEOF\n", 4, "dependency"
    ),
    "README.md": ("# x\n```\npip install flash-attn --no-build-isolation\n```\n", 3, "dependency"),
    "Dockerfile.dev": ("FROM x\nRUN pip install flashinfer_python-0.2-cp38-abi3.whl\n", 2,
                       "dependency"),
    "setup.py": ("from setuptools import setup\nsetup(install_requires=['flash-attn'])\n", 2,
                 "dependency"),
}  # fmt: skip

NOT_IN_OTHER_FILES = {
    "a comment in a script": ("a.sh", "# pip install flash-attn\necho use --use-flash-attn\n"),
    "prose in a README": ("README.md", "We recommend flash-attn; pip is fine.\n"),
    "an image from which it is removed": (
        "Dockerfile",
        "FROM x\nRUN pip uninstall -y torch \\\n    flash-attn apex \\\n    && echo done\n"
        "RUN pip uninstall -y flash-attn; echo flash\n",
    ),
    "a download in a README": ("README.md", "wget https://x.org/flash_attn-2.6.3-cp310.whl\n"),
    "a commented requirement": ("requirements.txt", "# flash-attn\ntorch\n"),
    "a sentence in a JSON": ("d.json", '{"text": "a flash_attn of light"}\n'),
    "folders left out of a package": (
        "pyproject.toml",
        '[tool.setuptools.packages.find]\nexclude = ["data", "flash-attention"]\n',
    ),
    "isort's known packages": ("pyproject.toml", '[tool.isort]\nknown = ["torch", "flashy"]\n'),
}


@pytest.mark.parametrize("reason", NOT_FINDINGS)
def test_leaves_lookalikes_alone(reason, tree):
    assert scan(tree({"m.py": NOT_FINDINGS[reason]})).findings == []


@pytest.mark.parametrize("reason", NOT_IN_OTHER_FILES)
def test_leaves_other_files_alone(reason, tree):
    name, text = NOT_IN_OTHER_FILES[reason]
    assert scan(tree({name: text})).findings == []


@pytest.mark.parametrize("mechanism", FINDINGS)
def test_finds_the_mechanism_on_its_line(mechanism, tree):
    text, line = FINDINGS[mechanism]
    found = {(f.mechanism, f.line) for f in scan(tree({"m.py": text})).findings}
    assert (mechanism.strip(), line) in found


@pytest.mark.parametrize("trap", TRAPS)
def test_names_the_trap(trap, tree):
    assert trap.strip() in {f.trap for f in scan(tree({"m.py": TRAPS[trap]})).findings}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_finds_it_in_other_files(name, tree):
    text, line, mechanism = OTHER_FILES[name]
    found = {(f.path, f.line, f.mechanism) for f in scan(tree({name: text})).findings}
    assert (name, line, mechanism) in found


def test_a_choice_behind_an_option_is_not_hard_coded(tree):
    text = "def f(k, use_flash_attn=False):\n    if use_flash_attn:\n        k['attn_implementation'] = 'flash_attention_2'\n"
    result = scan(tree({"m.py": text}))
    assert [f.mechanism for f in result.findings] == ["own-boolean", "keyword"]
    assert result.hard_coded() == []


def test_a_registry_of_classes_is_one_finding(tree):
    text = (
        "LLAMA_ATTENTION_CLASSES = {\n    'eager': A,\n    'flash_attention_2': B,\n"
        "    'ring_flash_attention_2': C,\n}\n"
    )
    assert [f.line for f in scan(tree({"m.py": text})).findings] == [1]


def test_the_guard_of_a_local_import_counts(tree):
    files = {
        "p/flash_attention.py": "from flash_attn import flash_attn_func\n",
        "p/model.py": "try:\n    from .flash_attention import F\nexcept ImportError:\n    F = None\n",
    }
    found = {(f.path, f.mechanism) for f in scan(tree(files)).findings}
    assert ("p/model.py", "guarded-import") in found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from models import build\n", "unguarded-import"),
        ("def f():\n    from models import build\n    return build()\n", "lazy-import"),
        ("if fast:\n    from models import build\n", "guarded-import"),
        ("if TYPE_CHECKING:\n    from models import build\n", None),
        ("from others import build\n", None),
        ("import json  # models\n", None),
    ],
)
def test_importing_what_needs_a_kernel_is_a_finding_where_no_kernel_is_named(text, found, tree):
    files = {
        "models.py": "from flash_attn import flash_attn_func\n",
        "others.py": "build = 1\n",
        "train.py": text,
    }
    mechanisms = [f.mechanism for f in scan(tree(files)).findings if f.path == "train.py"]
    assert mechanisms == ([found] if found else [])


def test_an_option_whose_name_is_cut_short_is_found_with_the_script_that_gives_it(tree):
    text = "p.add_argument('--attn_imple', choices=['eager', 'sdpa'], default='eager')\n"
    found = scan(tree({"train.py": text, "a.sh": "python train.py --attn_imple=sdpa\n"})).findings
    assert [(f.path, f.mechanism) for f in found] == [
        ("a.sh", "shell-flag"),
        ("train.py", "option"),
    ]


def test_a_switch_named_after_the_function_of_pytorch_speaks_of_sdpa(tree):
    text = "def f(use_pt_scaled_dot_product_attention=False):\n    return g(use_pt_scaled_dot_product_attention)\n"
    (found,) = scan(tree({"m.py": text})).findings
    assert (found.mechanism, found.target) == ("own-boolean", "sdpa")
