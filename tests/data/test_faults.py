"""Faults: harm stops who opens a split, and what is harmless does not."""

from pathlib import Path

import pytest

from fcnseg.data.faults import Fault, refuse


@pytest.mark.parametrize(("kind", "error"), [("missing", FileNotFoundError), ("empty", ValueError), ("x", ValueError)])
def test_a_fault_is_raised_as_what_it_is(kind, error):
    with pytest.raises(error, match=r"^it is so$"):
        refuse(Fault(kind, Path("a"), "it is so"))


def test_a_harmless_one_is_let_pass():
    refuse(Fault("missing", Path("a"), "never mind", harmless=True))
