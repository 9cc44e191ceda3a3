"""A slow, obvious reading of a policy, which shares no code with the package's own.

It goes through the rules as they are written, as Python data, and compares each condition with the
facts of one call. Nothing is settled beforehand, nothing is kept.
"""

from __future__ import annotations

import re

SHORT = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def first_match(policy: dict, facts: dict) -> tuple[int | None, str]:
    """(index of the rule that wins or None, what it asks for)."""
    for index, rule in enumerate(policy["rules"]):
        if all(holds(name, wanted, facts) for name, wanted in rule["when"].items()):
            return index, rule["use"]
    return None, policy["attn"]


def holds(name: str, wanted, facts: dict) -> bool:
    if name in ("role", "phase", "device", "mask"):
        return facts[name] in listed(wanted)
    if name == "dtype":
        return facts[name] in [SHORT.get(word, word) for word in listed(wanted)]
    if name == "site":
        return any(glob(pattern, facts["site"]) for pattern in listed(wanted))
    if name == "training":
        return facts[name] is wanted
    if name == "packages":
        return all(version(facts["packages"].get(p), text) for p, text in wanted.items())
    if name == "environment":
        return all(variable(facts["environment"].get(v), text) for v, text in wanted.items())
    value = facts[name]
    if value is None:
        return False
    return any(number(value, item) for item in listed(wanted))


def listed(wanted):
    return wanted if isinstance(wanted, list) else [wanted]


def glob(pattern: str, path: str) -> bool:
    expression = "".join(".*" if c == "*" else re.escape(c) for c in pattern)
    return re.fullmatch(expression, path) is not None


def number(value: float, item) -> bool:
    """Numbers are compared as they are, a capability (8, 6) as 8.06."""
    terms = [term.strip() for term in str(item).split(",")]
    if any(term[0] in "<>!=" for term in terms):
        return all(compared(value, term) for term in terms)
    return any(in_range(value, term) for term in terms)


def compared(value, term: str) -> bool:
    sign = re.match(r"[<>=!]+", term).group()
    bound = numeral(term[len(sign) :])
    if sign == "<":
        return value < bound
    if sign == "<=":
        return value <= bound
    if sign == ">":
        return value > bound
    if sign == ">=":
        return value >= bound
    return value != bound


def in_range(value, term: str) -> bool:
    if "-" in term:
        low, high = term.split("-")
        return numeral(low) <= value <= numeral(high)
    return value == numeral(term)


def numeral(text: str):
    text = text.strip()
    if "." in text:
        major, minor = text.split(".")
        return (int(major), int(minor))
    return int(text)


def version(found: str | None, text: str) -> bool:
    if text in ("present", "absent"):
        return (found is not None) == (text == "present")
    if found is None:
        return False
    have = [int(part) for part in found.split(".")]
    for term in text.split(","):
        sign = re.match(r"[<>=!]*", term).group()
        want = [int(part) for part in term[len(sign) :].split(".")]
        width = max(len(have), len(want))
        a, b = have + [0] * (width - len(have)), want + [0] * (width - len(want))
        verdict = {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b, "": a == b, "!=": a != b}
        if not verdict[sign]:
            return False
    return True


def variable(found: str | None, text: str) -> bool:
    if text in ("present", "absent"):
        return (found is not None) == (text == "present")
    return found is not None and glob(text, found)
