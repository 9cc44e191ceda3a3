"""A package that works: its functions are replaced under a request, and are its own otherwise."""

from __future__ import annotations

from .fakes import INTERFACE, WORKING, make_package
from .scenario import run_switched


def working(folder) -> None:
    make_package(folder, __init__=WORKING, flash_attn_interface=INTERFACE)
    (folder / "project.py").write_text(
        "from flash_attn import flash_attn_func\n"
        "def attend(q):\n"
        "    return flash_attn_func(q, q, q, 0.0, None, True, (-1, -1))\n"
    )


OWN = '"the package\'s own"'


def test_names_imported_before_and_during_are_reached_and_given_back(tmp_path):
    working(tmp_path)
    run_switched(
        f"""
import project, flash_attn
own = [flash_attn.flash_attn_func]
hold("blockwise")
assert project.attend(q).shape == q.shape
from flash_attn.flash_attn_interface import flash_attn_func as during, something_else
assert during.__doc__ == own[0].__doc__ and during is not own[0]
assert during(q, q, q).shape == q.shape
assert something_else() == "untouched"
assert flash_attn.flash_attn_interface.calls == []
release()
assert flash_attn.flash_attn_func is own[0] and project.flash_attn_func is own[0]
assert during is own[0]
assert project.attend(q) == {OWN}
""",
        tmp_path,
    )


def test_a_package_imported_under_a_request_is_replaced(tmp_path):
    working(tmp_path)
    run_switched(
        f"""
hold("blockwise")
import project, flash_attn
assert project.attend(q).shape == q.shape
assert flash_attn.__version__ == "2.3.6"
assert type(flash_attn.__loader__).__name__ == "SourceFileLoader"
assert type(flash_attn.__spec__.loader).__name__ == "SourceFileLoader"
found = [(a.kind, a.name) for a in package.activations]
assert ("replaced", "flash_attn.flash_attn_interface.flash_attn_func") in found
release()
assert project.attend(q) == {OWN}
assert flash_attn.flash_attn_func.__module__ == "flash_attn.flash_attn_interface"
assert not hasattr(flash_attn.flash_attn_func, "__wrapped__")
""",
        tmp_path,
    )


def test_the_packages_own_function_runs_where_that_is_asked(tmp_path):
    working(tmp_path)
    run_switched(
        f"""
import project
hold("flash_attn")
assert project.attend(q) == {OWN}
hold("auto")
assert project.attend(q) == {OWN}
hold("flash")
assert project.attend(q).shape == q.shape
release(); release(); release()
""",
        tmp_path,
    )


def test_arguments_go_by_name_since_their_order_differs_between_versions(tmp_path):
    """In 2.3 the eighth is return_attn_probs, in 2.8 softcap."""
    working(tmp_path)
    run_switched(
        """
import flash_attn
hold("blockwise")
out, lse, dropped = flash_attn.flash_attn_func(q, q, q, 0.0, None, True, (-1, -1), True)
assert lse.shape == (1, 2, 3)
release()
""",
        tmp_path,
    )
