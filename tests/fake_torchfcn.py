"""A torchfcn of a few layers on disk, which imports what the real one imports."""

FCN32S = """
import fcn
import torch.nn as nn


class FCN32s(nn.Module):
    def __init__(self, n_class=21):
        super().__init__()
        self.conv1_1 = nn.Conv2d(3, 8, 3, padding=1)
        self.score_fr = nn.Conv2d(8, n_class, 1)
        self.upscore = nn.ConvTranspose2d(n_class, n_class, 2, stride=1, bias=False)

    def forward(self, x):
        scores = self.upscore(self.score_fr(self.conv1_1(x)))
        return scores[:, :, 1:1 + x.shape[2], 1:1 + x.shape[3]]
"""

FCN8S = """
import fcn

from .fcn32s import FCN32s


class FCN8s(FCN32s):
    pass


class FCN8sAtOnce(FCN8s):
    pass
"""


def write_torchfcn(folder):
    """Writes it into a folder, whose package must not be run, and returns the folder."""
    models = folder / "torchfcn" / "models"
    models.mkdir(parents=True)
    (folder / "torchfcn" / "__init__.py").write_text("raise RuntimeError('it imports trainers and data sets')")
    (models / "__init__.py").write_text("raise RuntimeError('nor is this needed')")
    (models / "fcn32s.py").write_text(FCN32S)
    (models / "fcn8s.py").write_text(FCN8S)
    return folder
