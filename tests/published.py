"""Layers of the published nets, of few numbers, for tests only."""

import numpy as np
import torch

from fcnseg.upsampling import bilinear_kernel
from fcnseg.weights.nets import FCN32S


def convolution(outputs=1, kernel=1):
    return "Convolution", [np.ones((outputs, 3, kernel, kernel), np.float32), np.zeros(outputs, np.float32)]


def upsampling(size, classes=21):
    weight = np.zeros((classes, classes, size, size), np.float32)
    weight[range(classes), range(classes)] = bilinear_kernel(size)
    return "Deconvolution", [weight]


KERNELS = {"conv1_1": 3, "conv1": 11, "conv1/7x7_s2": 7}
OUTPUTS = {"fc8": 1000, "loss3/classifier": 1000, "score_fr": 21, "score_pool4": 21, "score_pool3": 21}


def layers_of(names, **others):
    """Layers of few numbers; those that read images or give scores have the shapes of the published nets."""
    return {name: convolution(OUTPUTS.get(name, 1), KERNELS.get(name, 1)) for name in sorted(names)} | others


def pytorch_fcn():
    """A state dict as pytorch-fcn's, with one channel everywhere."""
    tensors = {}
    for name in sorted(FCN32S | {"score_pool4", "score_pool3"}):
        outputs, kernel = OUTPUTS.get(name, 1), KERNELS.get(name, 1)
        tensors |= {f"{name}.weight": torch.randn(outputs, 3, kernel, kernel), f"{name}.bias": torch.randn(outputs)}
    return tensors | {"upscore8.weight": torch.from_numpy(upsampling(16)[1][0])}
