"""The convolutionalised classifier gives the original's scores, at one place and at every place."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision.models import get_model

from fcnseg.backbones import backbone_class
from fcnseg.backbones.layers import Conv, MaxPool
from fcnseg.classifier import Classifier, create_classifier, spread
from fcnseg.geometry import Grid
from fcnseg.shapes import Features
from fcnseg.weights.caffe import load_blobs
from fcnseg.weights.normalization import normalization


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def difference(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


# ---- the originals

GOLDEN = {
    "caffenet": "classifier_bvlc_reference_caffenet_seed1_227",
    "bvlc_googlenet": "classifier_bvlc_googlenet_seed1_224",
}
MAPS = {
    "caffenet": {"pool5": "pool5", "fc7": "fc7"},
    "bvlc_googlenet": {"inception_3b.output": 8, "inception_4e.output": 16, "inception_5b.output": 32},
}


@pytest.mark.parametrize("name", GOLDEN)
def test_scores_and_inner_maps_are_those_of_caffes_classifier(name, assets, golden_blobs, golden_layer):
    golden = np.load(assets / f"{GOLDEN[name]}.npz")
    seed, side = int(golden["seed"]), int(GOLDEN[name].rpartition("_")[2])
    net = create_classifier(name).eval()
    load_blobs(net.backbone, golden_blobs(net.backbone, seed))
    weight, bias = golden_layer(net.backbone.head.layer, tuple(net.last.weight.shape), seed)
    net.last.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    net.backbone.normalize_with(normalization("caffe", [123, 117, 104]))
    pixels = np.random.default_rng(int(golden["image_seed"])).integers(0, 256, (side, side, 3), np.uint8)
    images, seen = torch.from_numpy(pixels).permute(2, 0, 1)[None], {}
    for label, where in MAPS[name].items():
        if isinstance(where, str):
            net.backbone.get_submodule(where).register_forward_hook(
                lambda module, inputs, output, label=label: seen.update({label: output.clone()})  # before its ReLU
            )
    with torch.inference_mode():
        logits = net(images)
        maps = net.backbone(images)
    seen |= {label: maps[stride].tensor for label, stride in MAPS[name].items() if isinstance(stride, int)}
    assert logits.shape == (1, 1000, 1, 1)
    assert difference(logits.flatten(), torch.from_numpy(golden["logits"])) < 1e-5
    for label, tensor in seen.items():
        assert difference(tensor.mean((2, 3))[0], torch.from_numpy(golden[f"{label}_mean"])) < 1e-5
        if f"{label}_corner" in golden:
            assert difference(tensor[0, :, :2, :2], torch.from_numpy(golden[f"{label}_corner"])) < 1e-5


def cheap_state(name):
    """A torchvision classifier and its weights at random, without the seconds that its own initialisation takes."""
    with torch.device("meta"):
        theirs = get_model(
            name, weights=None, **({"aux_logits": False, "init_weights": False} if name == "googlenet" else {})
        )
    theirs = theirs.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for key, tensor in theirs.state_dict().items():
        if tensor.ndim > 1:
            tensor.uniform_(-1, 1, generator=generator).mul_((6 / tensor[0].numel()) ** 0.5)
        elif tensor.is_floating_point():
            tensor.uniform_(
                0.5, 1.5, generator=generator
            ) if "running_var" in key or "weight" in key else tensor.uniform_(-0.1, 0.1, generator=generator)
    return theirs


@pytest.mark.parametrize(
    "name",
    [
        "alexnet",
        "googlenet",
        "squeezenet",
        "resnet50",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("vgg16", "vgg16_bn")),
    ],
)
def test_one_place_has_the_scores_of_torchvisions_classifier(name, monkeypatch):
    theirs = cheap_state(backbone_class(name).torchvision_model)
    if name == "googlenet":
        theirs.transform_input = True  # as its ImageNet weights are to be used
    monkeypatch.setattr("fcnseg.backbones.pretrained.imagenet_tensors", lambda model: theirs.state_dict())
    with torch.device("meta"):
        ours = create_classifier(name)
    ours = ours.to_empty(device="cpu").eval()
    ours.load("imagenet")
    images = noise(2, 3, 224, 224)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        logits, expected = ours(images), theirs((images / 255 - mean) / std)
    assert logits.shape == (2, 1000, 1, 1)
    assert difference(logits.flatten(1), expected) < 1e-5


# ---- every place


def unpadded(name, divisor=8):
    """A narrow copy without any padding, whose fc6 takes what is left of 227 pixels: cells then see no border."""
    full = backbone_class(name)

    def bare(layer):
        if isinstance(layer, Conv):
            kernel = {"caffenet": 2, "alexnet": 2, "vgg16": 1}[name] if layer.name == "fc6" else layer.kernel
            inputs = 3 if layer.inputs == 3 else layer.inputs // divisor
            return replace(layer, inputs=inputs, outputs=layer.outputs // divisor, kernel=kernel, padding=0)
        if hasattr(layer, "channels"):
            return replace(layer, channels=layer.channels // divisor)
        # Rounded up, a window would reach beyond a crop where the image goes on.
        return replace(layer, padding=0, ceil=False) if isinstance(layer, MaxPool) else layer

    class Bare(full):
        @classmethod
        def make_layers(cls, padding, dropout):
            return tuple(bare(layer) for layer in full.make_layers(padding, dropout))

    return Bare(0)


@pytest.mark.parametrize("name", ["caffenet", "alexnet", "vgg16"])
def test_one_pass_over_a_large_image_equals_a_hundred_crops(name):
    torch.manual_seed(0)
    net = Classifier(unpadded(name)).eval()
    image = noise(1, 3, 227 + 9 * 32, 227 + 9 * 32)
    crops = image[0].unfold(1, 227, 32).unfold(2, 227, 32).permute(1, 2, 0, 3, 4)
    with torch.inference_mode():
        grid, single = net(image), net(crops.reshape(100, 3, 227, 227))
    assert grid.shape == (1, 1000, 10, 10)
    assert difference(single.reshape(10, 10, 1000).permute(2, 0, 1), grid[0]) < 1e-5


@pytest.mark.parametrize("name", ["caffenet", "bvlc_googlenet", "resnet50"])
def test_larger_images_have_more_places_at_the_grids_stride(name, narrow):
    net = Classifier(narrow(name)(backbone_class(name).classifier_padding)).eval()
    with torch.inference_mode():
        one, more = net.scores(noise(1, 3, 227, 227)), net.scores(noise(1, 3, 227 + 64, 227 + 32))
    rows, columns = one.tensor.shape[2:]
    assert more.tensor.shape[2:] == (rows + 2, columns + 1)
    assert one.grid == more.grid
    assert one.grid.stride == 32


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="an image of 100x90 is smaller than the"):
        create_classifier("squeezenet").eval()(noise(1, 3, 100, 90))


def test_spreading_puts_a_cells_value_at_its_centre():
    cells = torch.arange(6.0).reshape(1, 1, 2, 3)
    fine = spread(Features(cells, Grid(stride=8, offset=5.0, field=11)), (20, 30))
    assert fine.shape == (1, 1, 20, 30)
    torch.testing.assert_close(fine[0, 0, [5, 13]][:, [5, 13, 21]], cells[0, 0])
    assert float(fine[0, 0, 9, 5]) == pytest.approx(1.5)
    assert float(fine[0, 0, 0, 0]) == 0
    assert float(fine[0, 0, 19, 29]) == 5


def test_spreading_a_single_cell_fills_the_image():
    assert torch.equal(
        spread(Features(torch.full((1, 2, 1, 1), 3.0), Grid(32, 100.0, 200)), (4, 5)), torch.full((1, 2, 4, 5), 3.0)
    )


# ---- weights


def test_weights_without_the_last_layer_are_refused(monkeypatch):
    state = {key: value for key, value in cheap_state("squeezenet1_1").state_dict().items() if "classifier" not in key}
    monkeypatch.setattr("fcnseg.backbones.pretrained.imagenet_tensors", lambda model: state)
    with pytest.raises(ValueError, match=r"does not fit Classifier: classifier.1.weight is missing"):
        create_classifier("squeezenet").load("imagenet")


@pytest.mark.parametrize("name", ["caffenet", "bvlc_googlenet", "googlenet", "squeezenet", "resnet50", "vgg16"])
def test_places_are_counted_without_computing_them(name, narrow):
    net = Classifier(narrow(name)(backbone_class(name).classifier_padding)).eval()
    for side in (net.smallest_side, net.smallest_side + 1, 227, 300, 500):
        with torch.inference_mode():
            assert net(noise(1, 3, side, 300)).shape[2] == net.places(side)
    assert net.places(net.smallest_side - 1) < 1
