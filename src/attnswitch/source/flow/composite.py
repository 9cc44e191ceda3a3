"""Models that hold a vision tower, and hand it what they were asked for themselves.

`Qwen2VLForConditionalGeneration.from_pretrained(…, attn_implementation=x)` sets x in the
configurations of all its parts, and every part is made with what its configuration says.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache

from attnswitch.source.flow.values import (
    NOTHING,
    Const,
    External,
    Instance,
    Mapping,
    Unknown,
    Value,
)
from attnswitch.source.project import Symbol, dotted_text

#: Vision-language models that transformers brings, by the names of their classes.
_NAMES = re.compile(
    r"^AutoModelFor(?:Vision2Seq|ImageTextToText)$"
    r"|^(?:\w*(?:VL|Llava|PaliGemma|InstructBlip|Idefics|SmolVLM)\w*|Mllama|Aria|Blip2|Mistral3"
    r"|Gemma3|Glm4v|AyaVision|Emu3|Kosmos2)ForConditionalGeneration$"
)
#: The same without their last layer; before `MODELS_ARE_WHOLE` that was the language model alone.
_MODELS = re.compile(r"^\w*(?:VL|Llava\w*|PaliGemma)Model$")
#: The versions of transformers since which parts follow, and `Qwen2VLModel` has a tower.
PARTS_FOLLOW, MODELS_ARE_WHOLE = (4, 46), (4, 52)
#: Those whose tower followed from the first version on.
_ALWAYS = re.compile(r"^(?:Qwen2\w*VL|Mllama|Idefics[23])")
#: The names of parts of such models, which are no whole ones.
_PART = re.compile(r"Text|Vision(?!2)|Visual|PreTrained")
_SETTING = "_attn_implementation"
_END = "ForConditionalGeneration"
#: Stands for whichever class such a function finds.
SOME_WHOLE_MODEL = External("transformers.AutoModelForImageTextToText")


def holds_a_tower(dotted: str, new: bool) -> bool:
    """True for a class of transformers whose vision tower follows it.

    `new`: in the versions in which parts follow; before, some classes saw to it themselves.
    """
    head, _, last = dotted.rpartition(".")
    if head.split(".")[0] != "transformers" or not (new or _ALWAYS.match(last)):
        return False
    return bool(_NAMES.match(last)) and not _part(last)


def named_a_whole_model(name: str) -> bool:
    """True for the name of a class like `Qwen2VLModel`, which models of a tree are built on."""
    return bool(_MODELS.match(name))


def is_a_whole_model(dotted: str) -> bool:
    """True for such a class where it comes from transformers."""
    head, _, last = dotted.rpartition(".")
    return head.split(".")[0] == "transformers" and named_a_whole_model(last)


def picks_a_whole_model(function: Symbol) -> bool:
    """True for a function that finds a class by the end of its name, `ForConditionalGeneration`.

    Which class it returns depends on the checkpoint; written for models that see, it holds a tower.
    """
    if function.module is None or function.node is None or _END not in function.module.text:
        return False
    return _finds_a_class(function.node)


@lru_cache(maxsize=1024)
def _finds_a_class(function: ast.AST) -> bool:
    """True if the end of the name is compared, and what is looked up by a name is returned."""
    nodes = list(ast.walk(function))
    if not any(isinstance(node, ast.Constant) and node.value == _END for node in nodes):
        return False
    returned = [node.value for node in nodes if isinstance(node, ast.Return) and node.value]
    names = {value.id for value in returned if isinstance(value, ast.Name)}
    returned += [
        node.value
        for node in nodes
        if isinstance(node, ast.Assign)
        if any(isinstance(target, ast.Name) and target.id in names for target in node.targets)
    ]
    return any(
        isinstance(value, ast.Subscript)
        or (isinstance(value, ast.Call) and dotted_text(value.func) == "getattr")
        for value in returned
    )


def _part(name: str) -> bool:
    return bool(_PART.search(name)) and not name.startswith("AutoModelFor")


def asked_in(config: Value) -> Value | None:
    """The implementation that a load wrote into a configuration; None if it wrote none."""
    if isinstance(config, Instance):
        return None if config.asked == NOTHING else config.asked
    found = config.get(_SETTING) if isinstance(config, Mapping) else None
    return None if isinstance(found, Unknown) or found == Const(None) else found


def asking(asked: Value) -> Mapping:
    """Some configuration that holds what a load asked for."""
    return Mapping(((_SETTING, asked),), rest=True)


def is_a_part(name: str) -> bool:
    """True for `config.vision_config`: it holds what the whole configuration holds."""
    return name.endswith("_config")
