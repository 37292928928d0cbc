"""Numbers that others computed: the outputs of the authors' definitions, and the trace of an independent port."""

import json
import resource

import numpy as np
import pytest
import torch
from PIL import Image

from fcnseg.fcn import AT_ONCE_SCALES, FCN
from fcnseg.losses import PixelCrossEntropy
from fcnseg.optim import parameter_groups
from fcnseg.weights.caffe import load_blobs

# ---- learning: first, because it takes 5 GiB and the nets below stay until the last of their tests


def read_crop(data_root, name):
    """The top left 160x128 pixels of an image [1, 3, h, w] and its mask [1, h, w]."""
    voc = data_root / "VOCdevkit" / "VOC2012"
    pixels = np.asarray(Image.open(voc / "JPEGImages" / f"{name}.jpg").convert("RGB"))[:128, :160]
    mask = np.asarray(Image.open(voc / "SegmentationClass" / f"{name}.png"))[:128, :160]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], torch.from_numpy(mask.copy())[None]


@pytest.mark.slow
@pytest.mark.usefixtures("all_threads")
def test_heavy_learning_of_vgg16_gives_the_recorded_losses_and_norms(assets, data_root, empty_vgg, golden_blobs):
    trace = json.loads((assets / "trace_fcn32s_heavy_seed3.json").read_text())
    net = FCN(empty_vgg(dropout=0.0), 21, 32)
    load_blobs(net, golden_blobs(net, trace["seed"]))
    torch.nn.init.zeros_(net.score_fr.weight)
    torch.nn.init.zeros_(net.score_fr.bias)
    net.double()
    groups = parameter_groups(net, net.score_layers, lr=trace["lr"], weight_decay=trace["weight_decay"])
    optimizer = torch.optim.SGD(groups, lr=trace["lr"], momentum=trace["momentum"], foreach=False)
    loss, losses = PixelCrossEntropy("sum"), []
    for step in range(len(trace["losses"])):
        images, targets = read_crop(data_root, trace["ids"][step % len(trace["ids"])])
        # The trace rounds its inputs to single precision.
        mean = net.backbone.mean[:, None, None]
        inputs = (images.float() - mean.float()).double()
        optimizer.zero_grad()
        total = loss(net.scores(inputs + mean), net.upsample, targets).total
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    norms = {name.removeprefix("backbone."): float(p.detach().norm()) for name, p in net.named_parameters()}
    assert norms.keys() == trace["parameter_norms"].keys()
    errors = [abs(ours / theirs - 1) for ours, theirs in zip(losses, trace["losses"], strict=True)]
    norm_errors = {name: abs(norms[name] / value - 1) for name, value in trace["parameter_norms"].items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"losses {max(errors):.1e}, norms {max(norm_errors.values()):.1e}, peak {peak:.1f} GiB")
    assert max(errors) < 1e-6
    assert max(norm_errors.values()) < 1e-6


# ---- outputs

NETS = {
    "voc-fcn32s": (32, ()),
    "voc-fcn16s": (16, ()),
    "voc-fcn8s": (8, ()),
    "voc-fcn8s-atonce": (8, AT_ONCE_SCALES),
}


@pytest.fixture(scope="module")
def shared_vgg(empty_vgg):
    return empty_vgg()


@pytest.fixture(scope="module")
def blobs_of_seed(shared_vgg, golden_blobs):
    """Weights of one seed for all layers that any of the nets has; only the last seed's are held."""
    held = {}

    def blobs(seed):
        if seed not in held:
            held.clear()
            held[seed] = golden_blobs(FCN(shared_vgg, 21, 8), seed)
        return held[seed]

    yield blobs
    held.clear()


def check_golden(file, net_name, backbone, blobs_of_seed):
    golden = np.load(file)
    stride, scales = NETS[net_name]
    net = FCN(backbone, 21, stride, scales=scales).eval()
    names = {name.rpartition(".")[2] for name, _ in net.named_modules()}
    blobs = {name: blob for name, blob in blobs_of_seed(int(golden["seed"])).items() if name in names}
    load_blobs(net, blobs)
    with torch.inference_mode():
        logits = net(torch.from_numpy(golden["image_rgb"]).permute(2, 0, 1)[None])[0].numpy()
    error = np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max()
    print(f"{file.name}: {error:.1e}")
    assert error <= 1e-5


@pytest.mark.parametrize("name", NETS)
def test_logits_are_those_of_the_authors_definition(name, assets, shared_vgg, blobs_of_seed):
    check_golden(assets / f"synthetic_{name}_seed1_41x53.npz", name, shared_vgg, blobs_of_seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_logits_of_a_photograph_are_those_of_the_authors_definition(name, reference, shared_vgg, blobs_of_seed):
    check_golden(reference / f"photo_{name}_seed0_100x67.npz", name, shared_vgg, blobs_of_seed)
