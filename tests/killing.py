"""Stands for a kill, and for other things that happen in the middle of a training."""

from fcnseg.resumption import Checkpoints


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the package may catch it."""


def at(monkeypatch, hook, number, act, owner=Checkpoints):
    """Acts when a hook is called for the number-th time."""
    original, calls = getattr(owner, hook), []

    def called(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            act()
        return original(*arguments, **options)

    monkeypatch.setattr(owner, hook, called)


def die():
    raise Killed
