"""Numbers that others computed: the outputs of the authors' definitions, and the trace of an independent port."""

import json
import resource

import numpy as np
import pytest
import torch
from PIL import Image

from caffemodels import write_caffemodel
from fcnseg.backbones.caffenet import CaffeNet
from fcnseg.fcn import AT_ONCE_SCALES, FCN
from fcnseg.losses import PixelCrossEntropy
from fcnseg.optim import parameter_groups
from fcnseg.weights.caffe import load_blobs, read_caffemodel

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

ALEXNET = "voc-fcn-alexnet"


@pytest.fixture(scope="module")
def shared_vgg(empty_vgg):
    return empty_vgg()


@pytest.fixture(scope="module")
def blobs_of_seed(shared_vgg, golden_blobs, tmp_path_factory):
    """Weights of one seed for all layers that any of the nets has, by way of a file; only the last seed's are held."""
    folder = tmp_path_factory.mktemp("caffemodels")
    held = {}

    def blobs(seed):
        if seed not in held:
            held.clear()
            made = golden_blobs(FCN(shared_vgg, 21, 8), seed)
            held[seed] = written_and_read(made, folder / "net.caffemodel", version=1 + seed % 2)
        return held[seed]

    yield blobs
    held.clear()


def golden_net(name, backbone):
    stride, scales = NETS.get(name, (32, ()))
    return FCN(backbone, 21, stride, scales=scales).eval()


def wanted(net, blobs):
    names = {name.rpartition(".")[2] for name, _ in net.named_modules()}
    return {name: blob for name, blob in blobs.items() if name in names}


def check_golden(file, net, blobs):
    golden = np.load(file)
    load_blobs(net, blobs(int(golden["seed"])))
    with torch.inference_mode():
        logits = net(torch.from_numpy(golden["image_rgb"]).permute(2, 0, 1)[None])[0].numpy()
    error = np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max()
    print(f"{file.name}: {error:.1e}")
    assert error <= 1e-5


@pytest.mark.parametrize("name", NETS)
def test_logits_are_those_of_the_authors_definition(name, assets, shared_vgg, blobs_of_seed):
    net = golden_net(name, shared_vgg)
    check_golden(assets / f"synthetic_{name}_seed1_41x53.npz", net, lambda seed: wanted(net, blobs_of_seed(seed)))


def test_logits_of_alexnet_are_those_of_the_authors_definition(assets, golden_blobs):
    net = golden_net(ALEXNET, CaffeNet())
    check_golden(assets / f"synthetic_{ALEXNET}_seed1_41x53.npz", net, lambda seed: golden_blobs(net, seed))


@pytest.mark.slow
def test_logits_of_alexnet_through_a_caffemodel(assets, golden_blobs, tmp_path):
    net = golden_net(ALEXNET, CaffeNet())
    check_golden(
        assets / f"synthetic_{ALEXNET}_seed1_41x53.npz",
        net,
        lambda seed: written_and_read(golden_blobs(net, seed), tmp_path / "net.caffemodel", version=1),
    )


def written_and_read(blobs, path, version):
    """The same weights by way of a file; fc6 and fc7 of the FCNs are convolutions in the release too."""
    write_caffemodel(path, {name: ("Convolution", blob) for name, blob in blobs.items()}, version=version)
    blobs.clear()
    try:
        return read_caffemodel(path)
    finally:
        path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_logits_of_a_photograph_are_those_of_the_authors_definition(name, reference, shared_vgg, blobs_of_seed):
    net = golden_net(name, shared_vgg)
    check_golden(reference / f"photo_{name}_seed0_100x67.npz", net, lambda seed: wanted(net, blobs_of_seed(seed)))


@pytest.mark.slow
def test_logits_of_a_photograph_by_alexnet(reference, golden_blobs):
    net = golden_net(ALEXNET, CaffeNet())
    check_golden(reference / f"photo_{ALEXNET}_seed0_100x67.npz", net, lambda seed: golden_blobs(net, seed))


def test_memory_stays_below_4_gib(request):
    if any("heavy_learning_of_vgg16" in item.name for item in request.session.items):
        pytest.skip("float64 learning of VGG 16 ran in this process and needs more")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak {peak:.1f} GiB")
    assert peak < 4
