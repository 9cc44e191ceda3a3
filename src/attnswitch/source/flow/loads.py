"""Loading models: which class, which role, and what the loading call asks for."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

from attnswitch.source import words
from attnswitch.source.flow.composite import PARTS_FOLLOW, asked_in, asking, holds_a_tower
from attnswitch.source.flow.events import Event
from attnswitch.source.flow.expressions import Expressions
from attnswitch.source.flow.families import families
from attnswitch.source.flow.machine import Given
from attnswitch.source.flow.reaching import family_of_a_class
from attnswitch.source.flow.state import UNKNOWN, Frame, line_of
from attnswitch.source.flow.truth import branch
from attnswitch.source.flow.values import (
    ALWAYS,
    Choice,
    Chosen,
    Class,
    Const,
    External,
    Function,
    Guard,
    Instance,
    Loaded,
    Unknown,
    Value,
    alternatives,
    apply,
    choose,
)
from attnswitch.source.project import Symbol, dotted_text, find_method
from attnswitch.source.records import Line

#: Named after the language model that they belong to: `Qwen2VisionTransformerPretrainedModel`.
_VISION_PART = re.compile(r"Vision_?(?:Tower|Transformer|Model|Encoder)|VisualEncoder")
_WHOLE = re.compile(r"CausalLM|ConditionalGeneration")
#: Parts that hear or speak, and those of a generator of images, by the class that is loaded.
_OTHER_PARTS = re.compile(
    r"whisper|hubert|wav2vec|vocoder|T5Encoder|CLIPText|Transformer2D|UNet\d|ControlNet",
    re.IGNORECASE,
)
#: Parts that hear or speak, by what is around the load besides.
_SPEECH = re.compile(
    r"(?:speech|audio|voice)_?(?:generator|encoder|decoder|tower|tokenizer)", re.IGNORECASE
)


class Loads(Expressions):
    """Evaluates `from_pretrained` and its kin."""

    def _load(self, node: ast.Call, function: Value, arguments: Given, frame: Frame) -> Value:
        assert isinstance(node.func, ast.Attribute)
        receiver = self.evaluate(node.func.value, frame)
        text = dotted_text(node.func.value)
        results: list[tuple[Guard, Value]] = []
        for guard, item in alternatives(receiver):
            saved, self.state.guard = self.state.guard, self.state.guard | guard
            results.append((guard, self._load_one(item, text, node, function, arguments, frame)))
            self.state.guard = saved
        return choose(results)

    def _load_one(
        self,
        receiver: Value,
        text: str,
        node: ast.Call,
        function: Value,
        arguments: Given,
        frame: Frame,
    ) -> Value:
        assert isinstance(node.func, ast.Attribute)
        _positional, keywords, _more = arguments
        name = receiver.symbol.dotted if isinstance(receiver, (Class, Instance)) else text
        if isinstance(receiver, External):
            name = receiver.dotted.split(".")[-1]
        last = name.split(".")[-1]
        if not words.loads_a_model(last):
            self._remember_config(receiver, arguments, node, frame)
            return receiver_instance(receiver)
        own = (
            self.member(receiver, node.func.attr)
            if isinstance(receiver, (Class, Instance))
            else None
        )
        if isinstance(own, Function):
            result = self.enter(own, arguments, line_of(frame, node))
            if not any(words.is_setting(k) for k in keywords):
                self._built_from(receiver, arguments, node, frame)
                return result if not isinstance(result, Const) else receiver_instance(receiver)
        role = self._role(name, node, frame)
        keywords = self._with_the_config(node.func.attr, arguments)
        self._record_load(node, keywords, name, role, frame, self._family(receiver))
        before = len(self.state.events)
        self._built_from(receiver, arguments, node, frame)
        seen = any(e.role == "vision_tower" for e in self.state.events[before:])
        if role == "language_model" and not seen and self._holds_a_tower(receiver):
            self._record_load(node, keywords, name, "vision_tower", frame)
        return receiver_instance(receiver)

    def _family(self, receiver: Value) -> str:
        if isinstance(receiver, (Class, Instance)):
            return self.knowledge.family(receiver.symbol)
        return family_of_a_class(receiver.dotted) if isinstance(receiver, External) else ""

    def _with_the_config(self, loader: str, arguments: Given) -> dict[str, Value]:
        """The keywords of a load; `from_config(config)` follows what its configuration holds."""
        positional, keywords, _more = arguments
        if loader == "from_pretrained" or any(words.is_setting(k) for k in keywords):
            return keywords
        config = positional[0] if positional else keywords.get("config", UNKNOWN)
        asked = asked_in(config)
        if asked is None or not self.knowledge.since(*PARTS_FOLLOW):
            return keywords
        return {**keywords, "attn_implementation": asked}

    def _holds_a_tower(self, receiver: Value) -> bool:
        """True for a vision-language class of transformers, and for one of the tree built on it."""
        new = self.knowledge.since(*PARTS_FOLLOW)
        if isinstance(receiver, External):
            return holds_a_tower(receiver.dotted, new)
        if not isinstance(receiver, (Class, Instance)):
            return False
        bases = [
            self.project.resolve_dotted(symbol.module, base)
            for symbol in self.ancestry(receiver.symbol)
            if isinstance(symbol.node, ast.ClassDef) and symbol.module is not None
            for base in symbol.node.bases
        ]
        return any(b and b.kind == "external" and holds_a_tower(b.dotted, new) for b in bases)

    def _built_from(self, receiver: Value, arguments: Given, node: ast.Call, frame: Frame) -> None:
        if isinstance(receiver, External) and receiver.dotted.split(".")[-1] == "AutoModel":
            saved = self.state.guard
            role = self._role(receiver.dotted, node, frame)
            for symbol in [s for s in self.state.auto if _may_be(s, role)]:
                self.state.guard = saved | branch(f"the configuration is {symbol.dotted}'s").yes
                self.create(symbol, ([], {}, True), line_of(frame, node))
            self.state.guard = saved
        if isinstance(receiver, (Class, Instance)):
            config = _configured(arguments)
            made = self._config_class(receiver.symbol)
            if made is not None:
                asked = {k: v for k, v in arguments[1].items() if k == "attn_implementation"}
                given = {**self._of_a_checkpoint(made), **asked}  # as from_pretrained hands it on
                self.create(made, ([], given, True), line_of(frame, node))
            self.create(receiver.symbol, ([config], {}, True), line_of(frame, node))

    def _config_class(self, symbol: Symbol) -> Symbol | None:
        """The configuration of the tree that a model class names in `config_class`."""
        for parent in self.ancestry(symbol):
            assert isinstance(parent.node, ast.ClassDef) and parent.module is not None
            for item in parent.node.body:
                if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "config_class":
                    found = self.project.resolve_dotted(parent.module, item.value)
                    return found if found is not None and found.kind == "class" else None
        return None

    def _of_a_checkpoint(self, config: Symbol) -> dict[str, Value]:
        """What a checkpoint gives to the constructor of its configuration: its default, or another.

        Only parameters by which FlashAttention is asked for unless a checkpoint says otherwise.
        """
        if not isinstance(config.node, ast.ClassDef) or config.module is None:
            return {}
        constructor = find_method(config.node, "__init__")
        if not isinstance(constructor, ast.FunctionDef):
            return {}
        spec = constructor.args
        named = [*spec.posonlyargs, *spec.args]
        with_default = [
            *zip(named[len(named) - len(spec.defaults) :], spec.defaults, strict=True),
            *zip(spec.kwonlyargs, spec.kw_defaults, strict=True),
        ]
        found: dict[str, Value] = {}
        for argument, default in with_default:
            if not words.is_setting(argument.arg) or not isinstance(default, ast.Constant):
                continue
            if words.family_of(default.value) == "flash":
                at = Line(config.module.path, argument.lineno)
                found[argument.arg] = Chosen("config", argument.arg, Const(default.value), at)
        if found and "self._attn_implementation =" in ast.unparse(constructor):
            return {}  # which no checkpoint holds
        return found

    def _remember_config(
        self, receiver: Value, arguments: Given, node: ast.Call, frame: Frame
    ) -> None:
        """`XConfig.from_pretrained(…)` runs the constructor of a config class of the tree."""
        if isinstance(receiver, Class) and self.is_config(receiver.symbol):
            given = self._of_a_checkpoint(receiver.symbol)
            self.create(receiver.symbol, ([], given, True), line_of(frame, node))
        where = line_of(frame, node)
        for name, value in arguments[1].items():
            if name in {"attn_implementation", "_attn_implementation"}:
                for family, guard, source in families(name, value):
                    role = words.role_of(dotted_text(node.func)) or "language_model"
                    self.state.record(Event("write", family, where, role, guard, name, source))

    def _role(self, name: str, node: ast.Call, frame: Frame) -> str:
        low = name.lower()
        if _VISION_PART.search(name) and not _WHOLE.search(name):
            return "vision_tower"
        if "projector" in low or "resampler" in low or "projector" in frame.module.path.lower():
            return "projector"
        own = (name, frame.klass.dotted if frame.klass else "", frame.module.path.split("/")[-1])
        speaks = any(_SPEECH.search(text) for text in own)
        if _OTHER_PARTS.search(name) or (speaks and words.role_of(name) != "vision_tower"):
            return "other"
        if any(
            w in low
            for w in (
                "causallm",
                "llama",
                "qwen",
                "llm",
                "conditionalgeneration",
                "2seq",
                "texttotext",
            )
        ):
            return "language_model"
        if any(w in low for w in ("mistral", "phi", "gemma", "mpt", "vicuna", "internlm")):
            return "language_model"
        if words.role_of(name) == "vision_tower" and "llava" not in low and "vlm" not in low:
            return "vision_tower"
        first = ast.unparse(node.args[0]) if node.args else ""
        where = f"{frame.klass.dotted if frame.klass else ''} {frame.module.path}"
        if re.search(
            r"vision|visual|image_tower|video_tower|image_encoder|clip|siglip|\bvit|[._]vit",
            first.lower(),
        ):
            return "vision_tower"
        if re.search(r"multimodal_encoder|vision_tower|vision_encoder|clip_encoder|siglip", where):
            return "vision_tower"
        return "language_model"

    def _record_load(
        self,
        node: ast.Call,
        keywords: dict[str, Value],
        name: str,
        role: str,
        frame: Frame,
        model: str = "",
    ) -> None:
        where = line_of(frame, node)
        found = False
        for key, value in keywords.items():
            if not (words.is_setting(key) or words.is_switch(key)):
                continue
            if key in words.LEGACY and self._is_off(value):
                continue
            found = True
            line = self._key_line(node, key, where)
            for family, guard, source in families(key, value):
                self.state.record(Event("load", family, line, role, guard, name, source, model))
        if not found:
            # A load that is handed a configuration follows what was written into it.
            family = "configured" if "config" in keywords else "default"
            self.state.record(Event("load", family, where, role, ALWAYS, name, model=model))

    def _is_off(self, value: Value) -> bool:
        return isinstance(value, Const) and not value.value

    def _key_line(self, node: ast.Call, key: str, where: Line) -> Line:
        for keyword in node.keywords:
            if keyword.arg == key:
                return Line(where.path, keyword.lineno)
        return where


def _configured(arguments: Given) -> Value:
    """The configuration that the loaded class is made with, holding what the load asks for."""
    _positional, keywords, _more = arguments
    config = keywords.get("config", UNKNOWN)
    asked = next((v for k, v in keywords.items() if words.is_setting(k)), UNKNOWN)
    if isinstance(asked, Choice):
        asked = apply(asked, _left_open)
    if isinstance(asked, Unknown) or asked == Const(None):
        return config
    if isinstance(config, Instance):
        return replace(config, asked=asked)
    return asking(asked) if isinstance(config, Unknown) else config


def _left_open(asked: Value) -> Value:
    """None asks for nothing: the configuration keeps what it says."""
    return Chosen("config", "_attn_implementation", UNKNOWN) if asked == Const(None) else asked


def _may_be(registered: Symbol, role: str) -> bool:
    """True if `AutoModel` may make that class of the tree where it loads a part of a model."""
    file = registered.module.path.split("/")[-1] if registered.module else ""
    sees = words.role_of(registered.dotted) or words.role_of(file)
    return (sees == "vision_tower") == (role == "vision_tower")


def receiver_instance(receiver: Value) -> Value:
    """The object that loading a class gives."""
    if isinstance(receiver, (Class, Instance)):
        return Instance(receiver.symbol)
    return Loaded()
