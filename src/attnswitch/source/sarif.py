"""A scan as SARIF 2.1.0, which code hosts show beside the lines of a change."""

from __future__ import annotations

from urllib.parse import quote

from attnswitch.source.records import Finding, Scan

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_DESCRIPTIONS = {
    "keyword": "A keyword or dictionary entry chooses an attention implementation",
    "config-write": "A configuration is overwritten with an attention implementation",
    "constructor-override": "A constructor overrules the caller's attention implementation",
    "legacy-keyword": "A keyword that transformers stopped reading",
    "own-boolean": "The project's own switch for FlashAttention",
    "monkey-patch": "Attention is replaced for the whole process",
    "unguarded-import": "An import that fails without FlashAttention",
    "guarded-import": "An import that is protected against a missing package",
    "lazy-import": "An import inside a function",
    "option": "An option through which the user chooses",
    "environment-variable": "An environment variable that steers attention",
    "class-registry": "Attention implementations by name",
    "assertion": "The program stops unless an implementation is chosen",
    "dependency": "The package is installed",
    "shell-flag": "A script passes the choice on the command line",
    "config-field": "A field of a configuration file",
    "sdpa-call": "A call of PyTorch's SDPA",
    "sdp-toggle": "PyTorch's SDPA kernels are switched",
    "flash-call": "A call of a FlashAttention kernel",
    "varlen-packing": "A call of a FlashAttention kernel on packed sequences",
    "xformers": "xformers",
    "on-if-importable": "FlashAttention is on wherever it is installed",
    "capability": "A class declares what it supports",
    "unreachable-warning": "A warning that can never be printed",
}


def as_sarif(scan: Scan, version: str) -> dict[str, object]:
    """The findings of a scan as one SARIF run; hard-coded ones are warnings, others notes."""
    used = sorted({f.mechanism for f in scan.findings})
    rules = [{"id": m, "shortDescription": {"text": _DESCRIPTIONS.get(m, m)}} for m in used]
    driver = {"name": "attnswitch", "version": version, "rules": rules}
    results = [_result(f) for f in scan.findings if f.status != "dead"]
    run = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding) -> dict[str, object]:
    text = finding.message + (f" (trap: {finding.trap})" if finding.trap else "")
    return {
        "ruleId": finding.mechanism,
        "level": "warning" if finding.fixed else "note",
        "message": {"text": f"{text} [{finding.status}]"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(finding.path), "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": max(1, finding.line)},
                }
            }
        ],
    }
