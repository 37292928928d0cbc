"""Signals."""

import os
import signal
import subprocess
import sys

import pytest

from fcnseg.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_is_remembered_and_the_handlers_are_given_back(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert interruption.signal == 0
        signal.raise_signal(number)
        assert interruption.signal == number
    assert signal.getsignal(number) == before


def test_listening_again_takes_a_signal_back():
    with Interruption() as interruption:
        signal.signal(signal.SIGTERM, lambda *_: None)
        interruption.listen()
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal == signal.SIGTERM


def test_the_second_ctrl_c_ends_the_process_at_once():
    code = "import signal; from fcnseg.interruption import Interruption\nwith Interruption():\n"
    code += "    signal.raise_signal(signal.SIGINT); print('saving', flush=True)\n"
    code += "    signal.raise_signal(signal.SIGINT); print('never')\n"
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | paths, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, "saving\n")
