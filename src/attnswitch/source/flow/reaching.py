"""Whom a patch reaches: `LlamaAttention.forward = f` does nothing for a model of another family."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence

from attnswitch.source.flow.events import Event
from attnswitch.source.project import Project, Symbol, dotted_text

_OF_A_FAMILY = re.compile(r"^transformers\.models\.(\w+)\.")
_LANGUAGE_MODEL = re.compile(r"^([A-Z]\w*?)(?:ForCausalLM|LMHeadModel)$")
#: `self.blocks = nn.ModuleList(…)`, `{"blocks": nn.ModuleList(…)}`.
_LAYERS = re.compile(r"\b(?:blocks|layers|h)[\"']?\]?\s*[=:]\s*(?:torch\.)?nn\.ModuleList\(")
_REPLACED = re.compile(r"^(?:replace|substitute|patch)_([a-z0-9]+)_(?:attn|attention)_with_", re.I)
#: Whose attention cannot be told by the name of the class.
_ANY = re.compile(r"^Auto|Peft")


def family_of_a_patch(dotted: str) -> str:
    """The family in `transformers.models.llama.modeling_llama.LlamaAttention`; else empty."""
    match = _OF_A_FAMILY.match(dotted)
    return match.group(1).replace("_", "") if match else ""


def family_by_name(name: str) -> str:
    """The family in `replace_llama_attn_with_flash_attn`; empty if it names none."""
    match = _REPLACED.match(name)
    return match.group(1).lower() if match else ""


def family_of_a_class(dotted: str) -> str:
    """The family of `transformers.LlamaForCausalLM`; empty if its name does not say."""
    head, _, last = dotted.rpartition(".")
    match = _LANGUAGE_MODEL.match(last)
    if match is None or _ANY.search(last) or head.split(".")[0] != "transformers":
        return ""
    return match.group(1).lower()


def family_of_a_model(project: Project, ancestry: Sequence[Symbol]) -> str:
    """The family that a class of the tree is built on.

    A language model whose own module defines its attention and makes no model of somebody else's
    is of no family of transformers: the module's path stands for that. So is one that is built on
    nobody's family and makes a model of its module that stacks its layers.
    """
    for symbol in ancestry:
        if not isinstance(symbol.node, ast.ClassDef) or symbol.module is None:
            continue
        for base in symbol.node.bases:
            found = project.resolve_dotted(symbol.module, base)
            if found is not None and found.kind == "external":
                family = family_of_a_class(found.dotted)
                if family:
                    return family
        if _LANGUAGE_MODEL.match(symbol.node.name) and _attends_itself(project, symbol):
            return symbol.module.path
    own = (s for s in ancestry if s.module is not None and _stacks_its_layers(project, s))
    return next((s.module.path for s in own if s.module is not None), "")


def _attends_itself(project: Project, symbol: Symbol) -> bool:
    assert symbol.module is not None
    classes = _classes(symbol)
    own = any(
        c.name.endswith("Attention") and any(dotted_text(b).endswith("Module") for b in c.bases)
        for c in classes
    )
    return own and not any(_makes_another(project, symbol, c) for c in classes)


def _stacks_its_layers(project: Project, symbol: Symbol) -> bool:
    """`self.transformer = MPTModel(config)`, of a class beside it that holds `self.blocks`."""
    assert isinstance(symbol.node, ast.ClassDef)
    if not _LANGUAGE_MODEL.match(symbol.node.name):
        return False
    made = {dotted_text(call.func) for call in project.mentions(symbol.node).calls}
    classes = _classes(symbol)
    stacks = any(
        c.name in made and c.name.endswith("Model") and _LAYERS.search(ast.unparse(c))
        for c in classes
    )
    return stacks and not any(_makes_another(project, symbol, c) for c in classes)


def _classes(symbol: Symbol) -> list[ast.ClassDef]:
    """The classes of a symbol's module."""
    assert symbol.module is not None
    return [n for n in symbol.module.tree.body if isinstance(n, ast.ClassDef)]


def _makes_another(project: Project, symbol: Symbol, node: ast.ClassDef) -> bool:
    """True if a class makes a model of transformers: `self.model = LlamaModel(config)`."""
    assert symbol.module is not None
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and re.search(
            r"Model\b|ForCausalLM", dotted_text(inner.func)
        ):
            found = project.resolve_dotted(symbol.module, inner.func)
            if found is not None and found.kind == "external":
                return True
    return False


def reaching(events: list[Event], plays: Callable[[Event], bool]) -> list[Event]:
    """Without the patches of families of which no model is loaded; `plays`: a load that counts."""
    loads = [e for e in events if e.kind == "load" and e.role == "language_model" and plays(e)]
    families = {e.model for e in loads}
    if not families or "" in families:
        return events
    return [e for e in events if e.kind != "patch" or not e.model or e.model in families]
