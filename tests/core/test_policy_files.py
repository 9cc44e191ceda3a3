"""Policy files: the one-line switch, and complaints that name file, line and what is allowed."""

from __future__ import annotations

import json

import pytest

from attnswitch.errors import PolicyError
from attnswitch.policy.files import read_policy, request_from_mapping


def write(folder, text, name="policy.yaml"):
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("use_flash_attention: false", "standard"),
        ("use_flash_attention: true  # on", "flash"),
        ("# a comment\nattn: math\n", "math"),
        ('{"use_flash_attention": false}', "standard"),
        ('{"attn": "no-flash"}', "no-flash"),
        ("\ufeffattn: standard", "standard"),
    ],
)
def test_one_line_is_the_whole_switch(tmp_path, text, word):
    assert read_policy(write(tmp_path, text)).word == word


def test_the_source_names_file_and_line(tmp_path):
    path = write(tmp_path, "\n\nattn: math")
    assert read_policy(path).source == f"{path}:3"
    assert read_policy(path, "ATTNSWITCH").source == f"ATTNSWITCH ({path}:3)"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("use_flash_atention: false", 1, "(did you mean 'use_flash_attention'?); allowed:"),
        ("a: 1\n", 1, "unknown key 'a'; allowed: `use_flash_attention: true|false`"),
        ("use_flash_attention: nope", 1, "is true or false, not 'nope'"),
        ("use_flash_attention: 0", 1, "is true or false, not 0"),
        ("attn: off", 1, "(YAML reads off and no as false); write attn: standard"),
        ("attn: falsh", 1, "unknown request 'falsh' (did you mean 'flash'?)"),
        ("attn: other.yaml", 1, "cannot name another policy file"),
        ("attn: math\nuse_flash_attention: false", 2, "say the same thing: keep one"),
        ("attn: math\nattn: math", 2, "attn stands twice"),
        ("- attn", 1, "must be a mapping"),
        ("attn: [", 1, "is no valid YAML or JSON"),
        ("", None, "says nothing; write `use_flash_attention"),
    ],
)
def test_complaints_name_file_line_and_what_is_allowed(tmp_path, text, line, message):
    path = write(tmp_path, text)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    where = f"{path}:{line}: " if line else f"{path}: "
    assert str(caught.value).startswith(where)
    assert message in str(caught.value)


def test_a_missing_or_unreadable_file(tmp_path):
    with pytest.raises(PolicyError, match="there is no such policy file"):
        read_policy(tmp_path / "none.yaml")
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(PolicyError, match="cannot be read"):
        read_policy(tmp_path / "binary.yaml")


def test_a_python_mapping_says_the_same(tmp_path):
    policy = {"use_flash_attention": False}
    path = write(tmp_path, json.dumps(policy), "p.json")
    assert request_from_mapping(policy, "apply()").word == read_policy(path).word == "standard"
    with pytest.raises(PolicyError, match=r"unknown key 'rule' .did you mean 'rules'"):
        request_from_mapping({"rule": []}, "apply()")
    with pytest.raises(PolicyError, match="says nothing"):
        request_from_mapping({}, "apply()")
