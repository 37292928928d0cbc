"""Nets published elsewhere: any port of them fills the net whole, and what is another net is refused."""

import pytest
import torch
from safetensors.torch import save_file

from caffemodels import write_caffemodel
from fcnseg.convert import convert
from fcnseg.fcn import AT_ONCE_SCALES, FCN
from fcnseg.upsampling import bilinear_kernel
from fcnseg.weights.nets import PYTORCH_FCN_MEAN
from fcnseg.weights.normalization import CAFFE
from fcnseg.weights.stages import published_file, start_from_published


def net_at(stride, trunk, classes=4, **options):
    torch.manual_seed(stride)
    return FCN(trunk(), classes, stride, **options).eval()


def trained(net):
    """Stands for a training: every parameter has moved."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += torch.randn_like(parameter) * (parameter.std() if parameter.numel() > 1 else 1) + 0.01
    return net


@pytest.fixture
def trunk(narrow):
    return narrow("vgg16")


def blobs_of(net):
    """A net as the authors' files hold it, last upsampling included."""
    named = {name.rpartition(".")[2]: module for name, module in net.named_modules()}
    blobs = {
        name: ("Convolution", [module.weight.detach().numpy(), module.bias.detach().numpy()])
        for name, module in named.items()
        if isinstance(module, torch.nn.Conv2d)
    }
    layer = named[f"upsample{net.output_stride}"]
    kernel = torch.zeros(net.num_classes, net.num_classes, layer.kernel, layer.kernel)
    kernel[range(net.num_classes), range(net.num_classes)] = bilinear_kernel(layer.kernel)
    return blobs | {"upscore": ("Deconvolution", [kernel.numpy()])}


@pytest.mark.parametrize(("classes", "normalization"), [(21, CAFFE), (4, None)])
def test_a_caffemodel_fills_the_whole_net_and_brings_its_normalisation(classes, normalization, trunk, tmp_path):
    source, target = trained(net_at(16, trunk, classes)), net_at(16, trunk, classes)
    layers = blobs_of(source) | {"upscore2": ("Deconvolution", [skip_kernel(classes)])}
    path = write_caffemodel(tmp_path / "net.caffemodel", layers)
    assert start_from_published(target, path, ["score_pool4"]) == normalization
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def skip_kernel(classes=4):
    kernel = torch.zeros(classes, classes, 4, 4)
    kernel[range(classes), range(classes)] = bilinear_kernel(4)
    return kernel.numpy()


def test_a_finer_net_starts_from_a_published_coarser_one(trunk, tmp_path):
    source, target = trained(net_at(32, trunk)), net_at(16, trunk)
    path = write_caffemodel(tmp_path / "coarse.caffemodel", blobs_of(source))
    start_from_published(target, path, ["score_pool4"])
    assert torch.equal(target.score_fr.weight, source.score_fr.weight)
    assert not target.score_pool4.weight.any()


def test_tensors_of_another_port_fill_the_net_too(trunk, tmp_path):
    source, target = trained(net_at(32, trunk)), net_at(32, trunk)
    state = {name.removeprefix("backbone."): value for name, value in source.state_dict().items()}
    torch.save(state, tmp_path / "port.pth")
    assert start_from_published(target, tmp_path / "port.pth", []) is None
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def test_a_classifiers_file_is_no_whole_net(trunk, tmp_path):
    net = net_at(32, trunk)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    blobs = {name: blob for name, blob in blobs_of(net).items() if name not in ("score_fr", "upscore")}
    path = write_caffemodel(tmp_path / "classifier.caffemodel", blobs)
    with pytest.raises(
        ValueError, match=r"weights of a classifier alone go to backbone.weights.*missing layers: score_fr"
    ):
        start_from_published(net, path, [])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "ours"), [("net.caffemodel", False), ("net.safetensors", False), ("net.pth", False), ("last.ckpt", True)]
)
def test_a_file_of_weights_is_told_from_a_run_of_ours(name, ours, tmp_path):
    assert published_file(str(tmp_path / name)) == (None if ours else tmp_path / name)
    assert published_file(str(tmp_path)) is None


def test_the_authors_nets_are_known_by_name(monkeypatch, tmp_path):
    monkeypatch.setattr("fcnseg.weights.stages.released_file", lambda name: tmp_path / f"{name}.caffemodel")
    assert published_file("fcn8s-heavy-pascal") == tmp_path / "fcn8s-heavy-pascal.caffemodel"


NEW = ["score_pool4", "score_pool3"]


def port_of(net):
    """A state dict under the authors' names, as pytorch-fcn's."""
    return {
        f"{layer}.{kind}": torch.from_numpy(blob).clone()
        for layer, (_, blobs) in blobs_of(net).items()
        for kind, blob in zip(("weight", "bias"), blobs, strict=False)
    }


@pytest.mark.parametrize("at_once", [False, True])
def test_factors_of_the_file_and_of_the_net_must_agree(at_once, trunk, tmp_path):
    scaled, plain = net_at(8, trunk, 21, scales=AT_ONCE_SCALES), net_at(8, trunk, 21)
    torch.save(port_of(plain), tmp_path / "net.pth")
    convert(tmp_path / "net.pth", tmp_path / "net.safetensors", "voc-fcn8s-atonce" if at_once else None)
    right, wrong = (scaled, plain) if at_once else (plain, scaled)
    message = "lacks: take model=fcn8s_atonce" if at_once else r"without factors .*set model.scales=\[\]"
    with pytest.raises(ValueError, match=message):
        start_from_published(wrong, tmp_path / "net.safetensors", NEW)
    mean = start_from_published(right, tmp_path / "net.safetensors", NEW).mean
    assert mean == tuple(map(float, PYTORCH_FCN_MEAN.split(",")))


def test_a_caffemodel_without_factors_fills_no_net_with_them_but_a_coarser_one_does(trunk, tmp_path):
    target = net_at(8, trunk, scales=AT_ONCE_SCALES)
    path = write_caffemodel(tmp_path / "net.caffemodel", blobs_of(net_at(8, trunk)))
    with pytest.raises(ValueError, match=r"without factors .* model.scales=\[0.01, 0.0001\]"):
        start_from_published(target, path, NEW)
    source = trained(net_at(32, trunk))
    start_from_published(target, write_caffemodel(path, blobs_of(source)), NEW)
    assert torch.equal(target.score_fr.weight, source.score_fr.weight)


def test_learned_upsampling_of_a_coarser_file_is_kept_or_refused(trunk, tmp_path):
    source = trained(net_at(16, trunk, learn_intermediate=True))
    learned = {"upscore2.weight": source.upsample32.weight.detach()}
    for name, state in (("port.pth", port_of(source) | learned), ("ours.pth", source.state_dict())):
        torch.save(state, tmp_path / name)
        target = net_at(8, trunk, learn_intermediate=True)
        before = target.upsample16.weight.clone()
        start_from_published(target, tmp_path / name, NEW)
        assert torch.equal(target.upsample32.weight, source.upsample32.weight)
        assert torch.equal(target.upsample16.weight, before)
        with pytest.raises(ValueError, match=r"differs from upsample32, .*model.learn_intermediate=true"):
            start_from_published(net_at(8, trunk), tmp_path / name, NEW)


@pytest.mark.parametrize("backbone", ["vgg16_bn", "resnet50"])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_our_own_state_dict_fills_the_net_batch_normalisation_too(backbone, ending, narrow, tmp_path):
    source, target = (net_at(16, narrow(backbone)) for _ in range(2))
    trained(source)
    for name, buffer in source.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(1, 2)
    path = tmp_path / f"net.{ending}"
    torch.save(source.state_dict(), path) if ending == "pth" else save_file(source.state_dict(), path)
    start_from_published(target, path, ["score_pool4"])
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


@pytest.mark.parametrize("make", [lambda value: value.bfloat16(), torch.nn.Parameter])
def test_tensors_of_other_types_fill_the_net(make, trunk, tmp_path):
    source, target = trained(net_at(32, trunk)), net_at(32, trunk)
    torch.save({name: make(value) for name, value in port_of(source).items()}, tmp_path / "port.pth")
    start_from_published(target, tmp_path / "port.pth", [])
    torch.testing.assert_close(target.score_fr.weight, source.score_fr.weight, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("changed", "gone", "message"),
    [
        ({"fc7.blob2": torch.zeros(1)}, "", "fc7 has weight and bias and blob2, needed weight and bias alone"),
        ({}, "fc7.weight", r"fc7.weight is missing"),
        ({"fc7.bias": torch.zeros(1, device="meta")}, "", "'fc7.bias' is no plain tensor of floats"),
        ({"fc7.bias": torch.zeros(1).expand(10**10)}, "", "'fc7.bias' is no plain tensor of floats"),
        ({"fc7.bias": torch.zeros(256, dtype=torch.int64)}, "", "'fc7.bias' is no plain tensor of floats"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_kind(changed, gone, message, trunk, tmp_path):
    state = port_of(net_at(32, trunk)) | changed
    state.pop(gone, None)
    torch.save(state, tmp_path / "port.pth")
    with pytest.raises(ValueError, match=message):
        start_from_published(net_at(32, trunk), tmp_path / "port.pth", [])


def test_a_classifier_by_name_is_no_net_to_start_from():
    with pytest.raises(ValueError, match=r"init_from=bvlc_googlenet is a classifier, .* backbone\.weights=imagenet"):
        published_file("bvlc_googlenet")
