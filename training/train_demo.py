"""Train the built-in LLaVA from nothing and write the complete model folder.

    python training/train_demo.py --output src/attnswitch/models/demo

The vision tower learns to see (here: to name, for every patch, what it shows and what its grid cell
holds, by heads that are then thrown away); then, the tower frozen, projector and decoder learn to
talk, first from every 16th image token, which costs a quarter, then from all 576. A run that was
stopped goes on with ``--resume`` after the last stage it finished. Shape letters as in
``batches.py``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from batches import (
    IGNORE,
    Dialogues,
    PatchLabels,
    Text,
    patch_labels,
    pixel_values,
    scene_batches,
    visible,
)
from build import (
    IMAGE_TOKENS,
    PATCHES_PER_SIDE,
    USER_PREFIX,
    VISION_WIDTH,
    build_config,
    build_model,
    build_processor,
    build_tokenizer,
)
from muon import Muon
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it
from transformers import (
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from attnswitch.models import scenes

UNUSED_TOWER_LAYERS = 1
# The first lessons show more things a picture than the model will be asked about.
MOST_IN_LESSONS = 5
MUON_FACTOR = 4.0


@dataclass
class Log:
    """What the run cost and how its loss fell; written as JSON after every report."""

    path: Path
    settings: dict[str, object]
    stages: dict[str, dict[str, object]] = field(default_factory=dict)
    minutes_before: float = 0.0
    cpu_minutes_before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    cpu_started: float = field(default_factory=time.process_time)

    @classmethod
    def resumed(cls, path: Path, settings: dict[str, object]) -> Log:
        """A log that goes on where the one at ``path`` ended."""
        record = json.loads(path.read_text())
        return cls(path, settings, record["stages"], record["minutes"], record["cpu_minutes"])

    def report(self, stage: str, step: int, **values: float) -> None:
        """Record ``values`` at ``step`` of ``stage`` and rewrite the file."""
        entry = self.stages.setdefault(stage, {"curve": []})
        minutes = self.minutes_before + (time.monotonic() - self.started) / 60
        cpu_minutes = self.cpu_minutes_before + (time.process_time() - self.cpu_started) / 60
        point = {"step": step, "minutes": round(minutes, 2), "cpu_minutes": round(cpu_minutes, 2)}
        point.update({name: round(value, 5) for name, value in values.items()})
        entry["curve"].append(point)
        record = {
            "settings": self.settings,
            "minutes": point["minutes"],
            "cpu_minutes": point["cpu_minutes"],
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "stages": self.stages,
        }
        self.path.write_text(json.dumps(record, indent=1) + "\n")
        print(stage, point, flush=True)


class Optimisers:
    """Muon for the hidden matrices, AdamW for the rest; warm-up, then cosine to a twentieth."""

    def __init__(self, modules: list[nn.Module], rate: float, steps: int) -> None:
        matrices, others = [], []
        for module in modules:
            for name, parameter in module.named_parameters():
                hidden = parameter.ndim == 2 and not any(
                    word in name for word in ("embed", "lm_head", "head_of")
                )
                (matrices if hidden else others).append(parameter)
        self.parameters = matrices + others
        self.all = [
            Muon(matrices, lr=MUON_FACTOR * rate, weight_decay=0.01),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        warm_up = min(100, steps // 10)

        def scale(step: int) -> float:
            if step < warm_up:
                return (step + 1) / warm_up
            done = (step - warm_up) / max(1, steps - warm_up)
            return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

        self.schedules = [torch.optim.lr_scheduler.LambdaLR(one, scale) for one in self.all]

    def step(self, loss: torch.Tensor) -> None:
        """Backward, clip, update, clear."""
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for one, schedule in zip(self.all, self.schedules, strict=True):
            one.step()
            schedule.step()
            one.zero_grad(set_to_none=True)


def tower_states(
    model: LlavaForConditionalGeneration, pixels: torch.Tensor, with_last: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The tower's states without CLS, each [B, P, width].

    First what LLaVA takes, ``hidden_states[-2]``, then the last layer's, which LLaVA never uses.
    """
    tower = model.model.vision_tower
    states = tower.pre_layrnorm(tower.embeddings(pixels))
    for layer in tower.encoder.layers[:-1]:
        states = layer(states, None)
    last = tower.encoder.layers[-1](states, None) if with_last else None
    return states[:, 1:], None if last is None else last[:, 1:]


class PatchHeads(nn.Module):
    """Linear readers of the tower's states, one a label; used in the first stage only."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(VISION_WIDTH)
        self.head_of = nn.ModuleDict(
            {name: nn.Linear(VISION_WIDTH, size) for name, size in PatchLabels.SIZES.items()}
        )

    def forward(self, states: torch.Tensor, labels: PatchLabels) -> tuple[torch.Tensor, dict]:
        """Mean cross-entropy over labels and patches, and each label's accuracy."""
        states = self.norm(states)
        losses, accuracy = [], {}
        for name, head in self.head_of.items():
            logits, wanted = head(states), getattr(labels, name)
            losses.append(F.cross_entropy(logits.flatten(0, 1), wanted.flatten()))
            accuracy[name] = (logits.argmax(-1) == wanted).float().mean().item()
        return torch.stack(losses).mean(), accuracy


@dataclass(frozen=True)
class TowerStage:
    """How one stage of tower training runs. ``seeds_from`` keeps the stages' scenes apart."""

    name: str
    seeds_from: int
    steps: int
    batch: int
    rate: float
    with_last: bool


def train_tower(model, processor, stage: TowerStage, args, log: Log) -> None:
    """Stages 1 and 2. Fuller scenes than the decoder will see: more to learn from in each."""
    torch.manual_seed(args.seed + stage.seeds_from)
    heads, last_heads = PatchHeads(), PatchHeads()
    optimisers = Optimisers([model.model.vision_tower, heads, last_heads], stage.rate, stage.steps)
    seeds = scenes.training_seeds(stage.seeds_from, 3, 9)
    batches = scene_batches(seeds, stage.batch, 3, 9)
    for step in range(1, stage.steps + 1):
        batch = next(batches)
        states, last = tower_states(model, pixel_values(batch, processor), stage.with_last)
        labels = patch_labels(batch)
        loss, accuracy = heads(states, labels)
        total = loss if last is None else loss + 0.3 * last_heads(last, labels)[0]
        optimisers.step(total)
        if step % args.report_every == 0 or step == stage.steps:
            log.report(stage.name, step, loss=loss.item(), **accuracy)


class Talker:
    """Loss of the decoder on packed dialogues, given image features."""

    def __init__(self, model: LlavaForConditionalGeneration, processor: LlavaProcessor) -> None:
        self.model = model
        ids = processor.tokenizer(USER_PREFIX, return_tensors="pt").input_ids[0]
        place = int((ids == model.config.image_token_index).nonzero())
        self.before, self.after = ids[:place], ids[place + 1 :]

    def loss(self, states_BPC: torch.Tensor, kept: torch.Tensor, text: Text) -> torch.Tensor:
        """Mean loss over answer tokens; ``kept`` are the image tokens shown, of 576.

        Where fewer are shown, each stands for its neighbours: its scores are raised by the
        logarithm of their number, so that it weighs in a softmax as much as all of them would.
        """
        language_model = self.model.model.language_model
        embed = language_model.get_input_embeddings()
        batch = states_BPC.shape[0]
        image = self.model.model.multi_modal_projector(states_BPC[:, kept])
        before = embed(self.before).expand(batch, -1, -1)
        after = embed(self.after).expand(batch, -1, -1)
        embeddings_BSC = torch.cat([before, image, after, embed(text.token_ids)], dim=1)
        prefix_length = embeddings_BSC.shape[1] - text.token_ids.shape[1]
        start = len(self.before) + IMAGE_TOKENS + len(self.after)
        prefix_positions = torch.cat(
            [
                torch.arange(len(self.before)),
                len(self.before) + kept,
                torch.arange(start - len(self.after), start),
            ]
        ).expand(batch, -1)
        hidden = language_model(
            inputs_embeds=embeddings_BSC,
            attention_mask=weighed(visible(text, prefix_length), len(self.before), kept.numel()),
            position_ids=torch.cat([prefix_positions, start + text.offset], dim=1),
            use_cache=False,
        ).last_hidden_state[:, prefix_length:]
        answering = text.targets != IGNORE
        return F.cross_entropy(self.model.lm_head(hidden[answering]), text.targets[answering])


def weighed(seen_B1SS: torch.Tensor, first: int, shown: int) -> torch.Tensor:
    """The mask, added to scores; columns of thinned image tokens count for those left out.

    A token seen by itself stands for itself alone.
    """
    mask = torch.zeros(seen_B1SS.shape)
    columns = slice(first, first + shown)
    mask[..., columns] = math.log(IMAGE_TOKENS / shown)
    mask.diagonal(dim1=-2, dim2=-1).zero_()
    return mask.masked_fill_(~seen_B1SS, -math.inf)


def thinned(stride: int, generator: torch.Generator) -> torch.Tensor:
    """One image token of each ``stride`` x ``stride`` block, drawn anew for each block, sorted.

    Drawn, and not the same one throughout: on a lattice all distances between tokens are multiples
    of ``stride``, and a decoder with rotary positions fails at every other distance.
    """
    grid = torch.arange(IMAGE_TOKENS).view(PATCHES_PER_SIDE, PATCHES_PER_SIDE)
    blocks = grid.unfold(0, stride, stride).unfold(1, stride, stride).flatten(2).flatten(0, 1)
    drawn = torch.randint(0, stride * stride, (len(blocks), 1), generator=generator)
    return blocks.gather(1, drawn).flatten().sort().values


@dataclass(frozen=True)
class TalkStage:
    """How one stage of decoder training runs. ``seeds_from`` keeps the stages' scenes apart."""

    name: str
    seeds_from: int
    pictures: int
    steps: int
    batch: int
    rate: float
    stride: int
    most: int


class Pictures:
    """Scenes with the frozen tower's states, computed once: fp16 [pictures, P, width]."""

    @torch.no_grad()
    def __init__(self, model, processor, stage: TalkStage, chunk: int = 16) -> None:
        seeds = scenes.training_seeds(stage.seeds_from, most=stage.most)
        self.scenes = [
            scenes.make_scene(seed, most=stage.most) for seed in islice(seeds, stage.pictures)
        ]
        self.states = torch.cat(
            [
                tower_states(model, pixel_values(self.scenes[i : i + chunk], processor))[0].half()
                for i in range(0, len(self.scenes), chunk)
            ]
        )

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[list, torch.Tensor]]:
        """Endless shuffled batches: scenes and their states in fp32."""
        while True:
            order = torch.randperm(len(self.scenes), generator=generator)
            for indices in order.split(size):
                yield [self.scenes[i] for i in indices], self.states[indices].float()


def train_decoder(model, processor, stage: TalkStage, args, log: Log) -> None:
    """Stages 3 to 6: projector and decoder, the tower frozen."""
    generator = torch.Generator().manual_seed(args.seed + stage.seeds_from)
    talker = Talker(model, processor)
    dialogues = Dialogues(processor.tokenizer, args.seed + stage.seeds_from)
    parts = [model.model.multi_modal_projector, model.model.language_model, model.lm_head]
    optimisers = Optimisers(parts, stage.rate, stage.steps)
    batches = Pictures(model, processor, stage).batches(stage.batch, generator)
    losses: list[float] = []
    for step in range(1, stage.steps + 1):
        batch, states = next(batches)
        kept = thinned(stage.stride, generator)
        loss = talker.loss(states, kept, dialogues.pack(batch, rounds=1))
        optimisers.step(loss)
        losses.append(loss.item())
        if step % args.report_every == 0 or step == stage.steps:
            log.report(stage.name, step, loss=sum(losses) / len(losses))
            losses.clear()
        if step % args.save_every == 0:
            save(model, processor, args.output)


def saved_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of the run that is resumed: its token ids are in the weights."""
    return PreTrainedTokenizerFast.from_pretrained(folder)


def save(model, processor, folder: Path) -> None:
    """Write weights, configurations, tokenizer, processor and the sample picture."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    processor.save_pretrained(folder)
    # transformers 4 looks for the image processor and the tokenizer under these names.
    processor.image_processor.save_pretrained(folder)
    tokenizer_config = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer_config["tokenizer_class"] = "PreTrainedTokenizerFast"
    text = json.dumps(tokenizer_config, indent=2, sort_keys=True)
    (folder / "tokenizer_config.json").write_text(text + "\n")
    scenes.render(scenes.sample_scene()).save(folder / "sample.png", optimize=True)


def parse_args() -> argparse.Namespace:
    """Command line; the defaults are the run whose weights are in the repository."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tower-steps", type=int, default=1000)
    parser.add_argument("--tower-batch", type=int, default=4)
    parser.add_argument("--tower-rate", type=float, default=2e-3)
    parser.add_argument("--fine-steps", type=int, default=400)
    parser.add_argument("--fine-rate", type=float, default=1e-3)
    parser.add_argument("--talk-steps", type=int, default=600)
    parser.add_argument("--talk-batch", type=int, default=8)
    parser.add_argument("--talk-rate", type=float, default=2e-3)
    parser.add_argument("--talk-pictures", type=int, default=1200)
    parser.add_argument("--more-steps", type=int, default=1500)
    parser.add_argument("--more-rate", type=float, default=1.5e-3)
    parser.add_argument("--more-pictures", type=int, default=1500)
    parser.add_argument("--few-steps", type=int, default=5500)
    parser.add_argument("--few-rate", type=float, default=1.5e-3)
    parser.add_argument("--few-pictures", type=int, default=3000)
    parser.add_argument("--full-steps", type=int, default=120)
    parser.add_argument("--full-batch", type=int, default=4)
    parser.add_argument("--full-rate", type=float, default=4e-4)
    parser.add_argument("--full-pictures", type=int, default=480)
    parser.add_argument("--report-every", type=int, default=25)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--resume", action="store_true", help="skip the stages already finished")
    return parser.parse_args()


def main() -> None:
    """Run the stages in order."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    settings = {k: v for k, v in vars(args).items() if k not in ("output", "resume")}
    args.output.mkdir(parents=True, exist_ok=True)
    log_path = args.output / "training_log.json"
    log = Log.resumed(log_path, settings) if args.resume else Log(log_path, settings)
    tokenizer = saved_tokenizer(args.output) if args.resume else build_tokenizer()
    processor = build_processor(tokenizer)
    model = build_model(build_config(tokenizer), args.seed)

    runs = [partial(train_tower, stage=stage) for stage in tower_stages(args)]
    runs += [partial(train_decoder, stage=stage) for stage in talk_stages(args)]
    for run in runs:
        checkpoint = args.output / f"after_{run.keywords['stage'].name}.pt"
        if args.resume and checkpoint.exists():
            model.load_state_dict(torch.load(checkpoint))
            continue
        run(model, processor, args=args, log=log)
        torch.save(model.state_dict(), checkpoint)
    save(model, processor, args.output)
    for checkpoint in args.output.glob("after_*.pt"):
        checkpoint.unlink()


def tower_stages(args: argparse.Namespace) -> list[TowerStage]:
    """Stage 1 at the full rate, stage 2 slower and with the last layer too."""
    return [
        TowerStage("tower", 0, args.tower_steps, args.tower_batch, args.tower_rate, False),
        TowerStage(
            name="tower_fine",
            seeds_from=100_000,
            steps=args.fine_steps,
            batch=args.tower_batch,
            rate=args.fine_rate,
            with_last=True,
        ),
    ]


def talk_stages(args: argparse.Namespace) -> list[TalkStage]:
    """Stages 3 to 5 with 36 image tokens, fuller pictures first; stage 6 with all 576."""
    return [
        TalkStage(
            name="talk",
            seeds_from=200_000,
            pictures=args.talk_pictures,
            steps=args.talk_steps,
            batch=args.talk_batch,
            rate=args.talk_rate,
            stride=4,
            most=MOST_IN_LESSONS,
        ),
        TalkStage(
            name="talk_more",
            seeds_from=300_000,
            pictures=args.more_pictures,
            steps=args.more_steps,
            batch=args.talk_batch,
            rate=args.more_rate,
            stride=4,
            most=MOST_IN_LESSONS,
        ),
        TalkStage(
            name="talk_few",
            seeds_from=500_000,
            pictures=args.few_pictures,
            steps=args.few_steps,
            batch=args.talk_batch,
            rate=args.few_rate,
            stride=4,
            most=scenes.MOST_THINGS,
        ),
        TalkStage(
            name="talk_full",
            seeds_from=400_000,
            pictures=args.full_pictures,
            steps=args.full_steps,
            batch=args.full_batch,
            rate=args.full_rate,
            stride=1,
            most=scenes.MOST_THINGS,
        ),
    ]


if __name__ == "__main__":
    main()
