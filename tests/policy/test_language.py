"""The policy language: what may be written, what it means, and every complaint about it."""

from __future__ import annotations

import json

import pytest
import yaml

from attnswitch.errors import PolicyError
from attnswitch.policy.files import read_policy, request_from_mapping

EVERYTHING = {
    "attn": "standard",
    "override": True,
    "rules": [
        {"when": {"role": ["vision_tower", "projector"], "dtype": "bf16"}, "use": "math",
         "because": "the vision features drift"},
        {"when": {"site": "model.language_model.*", "layers": "0-3, 8", "phase": "decode"},
         "use": "flash"},
        {"when": {"device": "cuda", "capability": "<8.0", "head_dim": [64, "96-128"]},
         "use": "no-flash"},
        {"when": {"q_length": ">1", "kv_length": ">=16,<4096", "batch": 2, "mask": "padding"},
         "use": "blockwise"},
        {"when": {"training": True, "packages": {"flash_attn": "absent", "torch": ">=2.4"},
                  "environment": {"LOCAL_RANK": "0", "DEBUG": "present"}}, "use": "reference"},
    ],
}  # fmt: skip


def write(folder, text, name="policy.yaml"):
    path = folder / name
    path.write_text(text)
    return path


def test_yaml_json_and_python_build_the_same(tmp_path):
    from_json = read_policy(write(tmp_path, json.dumps(EVERYTHING), "p.json"))
    from_yaml = read_policy(write(tmp_path, yaml.safe_dump(EVERYTHING)))
    from_python = request_from_mapping(EVERYTHING, "apply()")
    assert from_json.policy == from_yaml.policy == from_python.policy
    assert len(from_yaml.policy.rules) == 5
    assert from_yaml.override
    other = json.loads(json.dumps(EVERYTHING))
    other["rules"][3]["when"]["batch"] = 3
    assert request_from_mapping(other, "apply()").policy != from_python.policy


def test_the_design_s_example(tmp_path):
    request = read_policy(write(tmp_path, """\
attn: auto
rules:                          # the first that matches wins
  - when: {role: vision_tower, dtype: bfloat16}
    use: standard
    because: the vision features drift under FlashAttention
  - when: {device: cuda, capability: "<8.0"}
    use: no-flash
  - when: {layers: "0-3", phase: prefill, kv_length: ">4096"}
    use: flash
"""), "ATTNSWITCH")  # fmt: skip
    path = tmp_path / "policy.yaml"
    rules = request.policy.rules
    assert [rule.where for rule in rules] == [f"{path}:3", f"{path}:6", f"{path}:8"]
    assert rules[1].use.source == f"ATTNSWITCH ({path}:6)"
    assert rules[0].because == "the vision features drift under FlashAttention"
    assert str(rules[2]) == "kv_length: >4096 and layers: 0-3 and phase: prefill"
    assert request.policy.otherwise.word == "auto"


def rule(when="{role: vision_tower}", use="math", more=""):
    return f"attn: standard\nrules:\n  - when: {when}\n    use: {use}\n{more}"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (rule("{rol: vision_tower}"), 3, "rule 1: unknown condition 'rol' (did you mean 'role'?); "
         "there are role, site, layers, phase, device, capability, dtype, head_dim, q_length, "
         "kv_length, batch, mask, training, packages, environment"),
        (rule("{role: vision}"), 3, "role: 'vision' is none of vision_tower, projector, "
         "language_model, other (did you mean 'vision_tower'?)"),
        (rule("{role: []}"), 3, "role: an empty list matches nothing"),
        (rule("{role: }"), 3, "role has no value; leave it out where everything is meant"),
        (rule("{phase: backward}"), 3, "phase: backward runs the kernel of its forward pass and "
         "cannot be chosen by itself; write `training: true`"),
        (rule('{device: "cuda:1"}'), 3, "'cuda:1' names one device; write its kind, 'cuda'"),
        (rule("{dtype: fp8}"), 3, "dtype: 'fp8' is none of float16, bfloat16, float32, float64"),
        (rule("{kv_length: many}"), 3, "kv_length: 'many' is no number, range or comparison"),
        (rule("{kv_length: true}"), 3, "kv_length: True is no number"),
        (rule("{kv_length: 1.5}"), 3, "kv_length: '1.5' is no whole number"),
        (rule("{kv_length: 9-3}"), 3, "'9-3' is no range: it goes from a number to a larger one"),
        (rule('{kv_length: ">9,<3"}'), 3, "kv_length: no number is >9,<3"),
        (rule('{kv_length: "<9, 12"}'), 3, "mixes comparisons with numbers; write a list instead"),
        (rule("{kv_length: []}"), 3, "kv_length: an empty list matches nothing"),
        (rule("{site: 3}"), 3, "site: 3 is no module path; write one such as"),
        (rule("{training: 1}"), 3, "training: write true or false, not 1"),
        (rule("{packages: torch}"), 3, "packages: write packages with versions"),
        (rule("{packages: {torch: new}}"), 3, "packages: torch: 'new' is no version: write"),
        (rule("{environment: RANK}"), 3, "environment: write variables with values"),
        (rule("{environment: {RANK: true}}"), 3, "RANK: write its value in quotes, present or"),
        (rule(use="falsh"), 4, "unknown request 'falsh' (did you mean 'flash'?)"),
        (rule(use="off"), 4, "use is a request, not False (YAML reads off and no as false)"),
        (rule(use="other.yaml"), 4, "use cannot name another policy file"),
        (rule(more="    becuse: x\n"), 5, "rule 1: unknown key 'becuse' (did you mean 'because'?); "
         "a rule has when, use and because"),
        (rule(more="    because: [a]\n"), 5, "rule 1: because is a sentence, not ['a']"),
        (rule(more="    use: flash\n"), 5, "use stands twice"),
        ("rules:\n  - use: math\n", 2, "rule 1 has no `when`"),
        ("rules:\n  - when: {batch: 1}\n", 2, "rule 1 has no `use`"),
        ("rules:\n  - when: {}\n    use: math\n", 2, "rule 1: when holds conditions; for "
         "everything else there is `attn`"),
        ("rules:\n  - math\n", 2, "rule 1 is no mapping"),
        ("rules: {a: 1}\n", 1, "rules is a list of `- when: {…}` with `use: <request>`"),
        ("attn: math\nrules: []\n", 2, "rules is empty; leave it out, or write one"),
        ("attn: math\noverride: 1\n", 2, "override is true or false, not 1"),
        ("override: true\n", 1, "says nothing to override with; write `use_flash_attention"),
    ],
)  # fmt: skip
def test_every_complaint_names_its_place(tmp_path, text, line, message):
    path = write(tmp_path, text)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert message in str(caught.value)


def dead(*rules):
    return {"attn": "auto", "rules": [{"when": w, "use": u} for w, u in rules]}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (dead(({"role": "vision_tower", "phase": "decode"}, "math")),
         "rule 1 can never match: no call has phase: decode and role: vision_tower"),
        (dead(({"phase": "decode", "q_length": ">1"}, "math")), "rule 1 can never match"),
        (dead(({"device": "cpu", "capability": "8.0"}, "math")), "rule 1 can never match"),
        (dead(({"layers": "0-9"}, "math"), ({"layers": "3-5", "phase": "decode"}, "flash")),
         "rule 2 is never reached: the one at p, rule 1 takes all its calls; move it up or out"),
        (dead(({"batch": 1}, "math"), ({"batch": 1}, "flash")),
         "rule 2 contradicts the one at p, rule 1: under the same conditions that asks for 'math', "
         "this for 'flash', and the first wins"),
        (dead(({"kv_length": "<64"}, "math"), ({"kv_length": ">=64"}, "flash"),
              ({"role": "language_model"}, "reference")),
         "rule 3 is never reached: together, the rules above it take all its calls (p, rule 1, p, "
         "rule 2)"),
        (dead(({"phase": ["decode", "prefill"]}, "math"), ({"mask": "none"}, "flash"),
              ({"role": "language_model"}, "reference")),
         "takes all its calls; move it up"),
        (dead(({"site": "a.*"}, "math"), ({"site": "a.*", "batch": 1}, "flash")), "never reached"),
        (dead(({"packages": {"torch": ">=2"}}, "math"),
              ({"packages": {"torch": ">=2", "timm": "present"}}, "flash")), "never reached"),
        (dead(({"training": True}, "math"), ({"training": False}, "flash"),
              ({"batch": 3}, "standard")), "together, the rules above it"),
        (dead(({"device": ["cpu", "cuda", "mps", "xpu", "npu", "hpu"]}, "math"),
              ({"capability": ">=8.0"}, "flash")), "never reached"),
    ],
)  # fmt: skip
def test_rules_that_can_never_match_are_refused(policy, message):
    with pytest.raises(PolicyError) as caught:
        request_from_mapping(policy, "p")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "policy",
    [
        dead(({"layers": ">=0"}, "math"), ({"role": "vision_tower"}, "flash")),
        dead(({"capability": ">=0.0"}, "math"), ({"device": "cpu"}, "flash")),
        dead(({"kv_length": "<64"}, "math"), ({"kv_length": "60-70"}, "flash")),
        dead(({"site": "a.*"}, "math"), ({"site": "b.*"}, "flash")),
        dead(({"device": "cpu"}, "math"), ({"device": "cuda"}, "flash"), ({"batch": 1}, "auto")),
        dead(({"dtype": ["fp16", "bf16", "fp32", "fp64"]}, "math"), ({"batch": 1}, "auto")),
        dead(({"packages": {"torch": ">=2", "timm": "present"}}, "math"),
             ({"packages": {"torch": ">=2"}}, "flash")),
    ],
)  # fmt: skip
def test_rules_that_can_match_are_not(policy):
    assert request_from_mapping(policy, "p").policy


def test_a_dead_rule_in_a_file_is_named_by_its_line(tmp_path):
    path = write(tmp_path, """\
rules:
  - when: {batch: ">0"}
    use: math
  - when: {batch: 4}
    use: flash
""")  # fmt: skip
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert str(caught.value) == (
        f"{path}:4: this rule is never reached: the one at line 2 takes all its calls; move it up "
        "or out"
    )
