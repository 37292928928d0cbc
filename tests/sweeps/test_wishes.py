"""Wishes that Slurm would refuse are refused before."""

import pytest

from fcnseg.sweeps.wishes import Wishes


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(time=0), "hydra.launcher.time must be at least 1"),
        (Wishes(nodes=0), "hydra.launcher.nodes must be at least 1"),
        (Wishes(gpus_per_node=-1), "hydra.launcher.gpus_per_node must be at least 0"),
        (Wishes(signal_delay_s=0), "hydra.launcher.signal_delay_s must be at least 1"),
        (Wishes(time=3), "signal_delay_s=120, and Slurm may warn 60 seconds earlier, .*time=3 minutes"),
    ],
)
def test_what_slurm_would_refuse_is_refused_before(wishes, said):
    with pytest.raises(ValueError, match=said):
        wishes.check()


def test_a_warning_that_leaves_time_to_train_is_allowed():
    Wishes(time=4).check()
    Wishes(time=None, signal_delay_s=9999).check()
