"""The exact window computes what the plain padded net computes: outputs, gradients, any size, any batch."""

import copy
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch.nn import functional

from fcnseg.backbones import backbone_class
from fcnseg.backbones.convolution import Convolution
from fcnseg.backbones.window import Borders, pooled
from fcnseg.fcn import FCN

PADDED = ("vgg16", "vgg19", "vgg16_bn", "caffenet", "alexnet")
SIZES = [(375, 500), (64, 67), (1, 1), (130, 33), (97, 301)]


def noise(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def moved(net):
    """Gives biases and statistics values that leave a trace far from the image."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    for layer in net.score_layers:
        torch.nn.init.normal_(layer.weight)
    return net


def pair(name, narrow, stride=8):
    """The same net twice: by the window, and plain."""
    window = moved(FCN(narrow(name)(100, dropout=0.0), 4, stride).double())
    plain = copy.deepcopy(window)
    plain.backbone.padding_mode = "plain"
    return window, plain


def difference(ours, theirs):
    return float(((ours - theirs).abs().max() / theirs.abs().max()).detach())


@pytest.mark.parametrize(
    ("name", "size"),
    [
        pytest.param(name, size, marks=[pytest.mark.slow] if size == SIZES[0] and name in ("vgg19", "vgg16_bn") else [])
        for name in PADDED
        for size in SIZES
    ],
)
def test_outputs_and_gradients_are_those_of_the_plain_net(name, size, narrow):
    window, plain = pair(name, narrow)
    images, weights = noise(2, 3, *size), torch.randn(2, 4, *size, dtype=torch.float64)
    outputs = [net(images) for net in (window, plain)]
    assert difference(*outputs) < 1e-12
    for output in outputs:
        (output * weights).sum().backward()
    expected = dict(plain.named_parameters())
    assert max(difference(p.grad, expected[name].grad) for name, p in window.named_parameters()) < 1e-12
    assert window.backbone.window_layers(*size) > 5


@pytest.mark.parametrize("stride", [*(pytest.param(stride, marks=pytest.mark.slow) for stride in (32, 16)), 8])
@pytest.mark.parametrize("side", range(60, 76))
def test_every_remainder_of_the_side_rounds_as_the_plain_net_does(stride, side, narrow):
    window, plain = pair("vgg16", narrow, stride)
    with torch.inference_mode():
        assert difference(window.eval()(noise(1, 3, side, 75)), plain.eval()(noise(1, 3, side, 75))) < 1e-12


@pytest.mark.parametrize("name", ["vgg16", "caffenet"])
def test_single_precision_is_within_the_windows_tolerance(name, narrow):
    window, plain = (net.float().eval() for net in pair(name, narrow))
    with torch.inference_mode():
        assert difference(window(noise(1, 3, 100, 120)), plain(noise(1, 3, 100, 120))) < 5e-5


@pytest.mark.parametrize("name", ["vgg16", "caffenet"])
def test_mixed_precision_differs_no_more_than_it_does_from_single(name, narrow):
    window, plain = (net.float().eval() for net in pair(name, narrow))
    images = noise(1, 3, 100, 120)
    with torch.inference_mode():
        exact = plain(images)
        with torch.autocast("cpu", torch.bfloat16):
            halves = window(images), plain(images)
    assert {half.dtype for half in halves} == {torch.float32}  # the last upsampling is not halved
    assert difference(halves[0], exact) < 2 * difference(halves[1], exact) + 1e-3


def test_shapes_come_out_without_memory_too():
    with torch.device("meta"):
        net = FCN(backbone_class("vgg16")(), 21, 8).eval()
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 75, 90, device="meta")).shape == (2, 21, 75, 90)


def test_a_batch_equals_its_images_one_by_one(narrow):
    window, _ = pair("vgg16", narrow)
    images = noise(3, 3, 80, 61)
    with torch.inference_mode():
        together = window.eval()(images)
        assert all(difference(together[i : i + 1], window(images[i : i + 1])) < 1e-12 for i in range(3))


@pytest.mark.parametrize("name", PADDED)
def test_windowed_maps_are_cut_from_the_plain_ones(name, narrow):
    window, plain = (net.backbone.eval() for net in pair(name, narrow))
    images = noise(1, 3, 90, 75)
    with torch.inference_mode():
        ours, theirs = window(images), plain(images)
    for stride, feature in ours.items():
        first = theirs[stride].grid.crop_to(feature.grid)
        rows, columns = feature.tensor.shape[2:]
        cut = theirs[stride].tensor[:, :, first : first + rows, first : first + columns]
        assert feature.grid == theirs[stride].grid.crop(first)
        assert difference(feature.tensor, cut) < 1e-12
    assert any(ours[stride].tensor.shape != theirs[stride].tensor.shape for stride in ours)


# ---- the border that is kept


def test_the_border_is_computed_once_and_dropped_when_weights_change(narrow):
    window, plain = pair("vgg16", narrow)
    images, kept = noise(1, 3, 90, 70), window.backbone._borders
    for _ in range(2):
        with torch.inference_mode():
            assert difference(window.eval()(images), plain.eval()(images)) < 1e-12
    assert len(kept) == 1
    with torch.no_grad():
        for net in (window, plain):
            net.backbone.conv2_1.bias += 1
    with torch.inference_mode():
        assert difference(window(images), plain(images)) < 1e-12
        window(noise(1, 3, 91, 70))
    assert len(kept) == 2


def test_equal_remainders_share_a_border(narrow):
    window, _ = pair("vgg16", narrow)
    with torch.inference_mode():
        for side in (90, 106, 138):
            window.eval()(noise(1, 3, side, 70))
    assert len(window.backbone._borders) == 1


def test_no_more_borders_are_kept_than_allowed(narrow):
    window, _ = pair("vgg16", narrow)
    window.backbone._borders = Borders(most=3)
    with torch.inference_mode():
        for side in range(80, 90):
            window.eval()(noise(1, 3, side, 70))
    assert len(window.backbone._borders) == 3


def test_nothing_is_kept_while_gradients_are_recorded(narrow):
    window, _ = pair("vgg16", narrow)
    window(noise(1, 3, 40, 40)).sum().backward()
    assert len(window.backbone._borders) == 0


def test_kept_borders_are_no_part_of_a_copy_or_a_file(narrow):
    window, plain = pair("vgg16", narrow)
    with torch.inference_mode():
        window.eval()(noise(1, 3, 40, 40))
    assert set(window.state_dict()) == set(plain.state_dict())
    assert difference(copy.deepcopy(window)(noise(1, 3, 40, 40)), plain.eval()(noise(1, 3, 40, 40))) < 1e-12


# ---- where there is no window


@pytest.mark.parametrize(("name", "padding"), [("vgg16", "same"), ("squeezenet", "same"), ("resnet50", "same")])
def test_without_wide_padding_all_is_computed(name, padding, narrow):
    assert narrow(name)(padding).window_layers(90, 90) == 0


def test_statistics_of_the_batch_need_all_of_it(narrow):
    backbone = narrow("vgg16_bn")(100, batch_norm="batch")
    assert backbone.train().window_layers(90, 90) == 0
    assert backbone.eval().window_layers(90, 90) > 5


def test_the_window_of_vgg16_on_the_papers_image():
    with torch.device("meta"):
        backbone = backbone_class("vgg16")()
    rows, _ = backbone._plans(375, 500)
    spans = {span.size: span for span in rows.spans}
    assert {size: span.stop - span.start for size, span in spans.items() if size in (573, 287, 144, 72, 36)} == {
        573: 380,
        287: 194,
        144: 103,
        72: 58,
        36: 30,
    }


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"backbone\.padding_mode must be one of window, plain, not 'valid'"):
        backbone_class("squeezenet")(padding_mode="valid")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (7, 10), (8, 9), (38, 45)])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2)])
def test_pooling_is_torchs_with_gradients_too(size, dtype, kernel, stride):
    a = torch.randint(-3, 4, (2, 5, *size), generator=torch.Generator().manual_seed(0)).to(dtype)
    a[0, 0, 0, 0] = float("nan")
    if min(size) < kernel:
        with pytest.raises(RuntimeError, match="too small"):
            pooled(a, kernel, stride)
        return
    for each in (a, a.to(memory_format=torch.channels_last)):
        found = pooled(each, kernel, stride)
        assert found.dtype == dtype
        assert torch.equal(found.nan_to_num(99), functional.max_pool2d(each, kernel, stride).nan_to_num(99))
    ours, theirs = (a.nan_to_num().clone().requires_grad_() for _ in range(2))
    pooled(ours, kernel, stride).sum().backward()
    functional.max_pool2d(theirs, kernel, stride).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)


def test_pooling_without_gradients_takes_the_larger_of_two(monkeypatch):
    a = torch.rand(1, 2, 6, 8)
    expected = functional.max_pool2d(a, 2, 2)
    monkeypatch.setattr(functional, "max_pool2d", None)
    assert torch.equal(pooled(a, 2, 2), expected)
    with pytest.raises(TypeError), torch.enable_grad():
        pooled(a.requires_grad_(), 2, 2)


ONE_GRAPH = """
import sys, torch, fcnseg
for name in sys.argv[1:]:
    net = fcnseg.create_model("fcn8s", backbone=name, num_classes=3).double().eval()  # without dropout
    for layer in net.score_layers:
        torch.nn.init.normal_(layer.weight)
    images = torch.randint(0, 256, (2, 3, 64, 67), dtype=torch.uint8)
    found = []
    for scores in (net.scores, torch.compile(net.scores, backend="eager", fullgraph=True, dynamic=False)):
        net.zero_grad()
        result = scores(images)
        result.tensor.sum().backward()
        found.append([result.tensor.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)])
        assert result.grid.stride == 8, result.grid
    assert found[0][0].any()
    for ours, compiled in zip(*found, strict=True):
        torch.testing.assert_close(ours, compiled, rtol=0, atol=1e-12 * float(ours.abs().max()))
    print(net.backbone.window_layers(64, 67))
"""


def compiled(*names):
    """Compiles nets in a process of its own, since annotations that are checked, as here, cannot be compiled.

    Returns how many layers of each have the exact window.
    """
    done = subprocess.run([sys.executable, "-c", ONE_GRAPH, *names], check=True, timeout=300, stdout=subprocess.PIPE)
    return [int(layers) for layers in done.stdout.split()]


def test_the_default_net_is_one_graph_for_a_compiler():
    assert compiled("squeezenet") == [0]


@pytest.mark.slow
def test_the_nets_of_the_papers_and_of_torchvision_are_one_graph_for_a_compiler():
    found = compiled("caffenet", "vgg16", "bvlc_googlenet", "resnet50", "googlenet")
    assert min(found[:2]) > 0 == max(found[2:])  # bvlc_googlenet has its window in larger images


@pytest.mark.parametrize(("name", "padding"), [("vgg16", 100), ("vgg16", "same"), ("resnet50", "same")])
def test_checkpointing_keeps_less_and_changes_nothing(name, padding, narrow):
    torch.manual_seed(0)
    net = moved(FCN(narrow(name)(padding, dropout=0.5), 4, 8).double())
    kept, found = [], []
    for checkpointing in (False, True):
        net.backbone.checkpointing = checkpointing
        net.zero_grad()
        torch.manual_seed(1)
        held = {}

        def hold(tensor, held=held):
            held[tensor.data_ptr()] = tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
            scores = net.scores(noise(1, 3, 90, 75)).tensor
        kept.append(sum(held.values()))
        scores.square().sum().backward()
        found.append([scores.detach(), *(p.grad.clone() for p in net.parameters() if p.grad is not None)])
    assert kept[1] < 0.7 * kept[0]
    assert all(torch.equal(*both) for both in zip(*found, strict=True))


@pytest.mark.parametrize(
    "optimizer", [partial(torch.optim.SGD, lr=0.1, fused=True), partial(torch.optim.AdamW, lr=0.1, fused=True)]
)
def test_a_border_does_not_outlive_a_step_of_a_fused_optimizer(optimizer, narrow):
    window, plain = pair("caffenet", narrow)
    images = noise(1, 3, 64, 67)
    step = optimizer(window.parameters())
    for _ in range(2):
        with torch.inference_mode():
            window.eval()(images)
        window.train()(images).square().mean().backward()
        step.step()
    plain.load_state_dict(window.state_dict())
    with torch.inference_mode():
        assert difference(window.eval()(images), plain.eval()(images)) < 1e-12


def test_plain_nets_take_direct_sums():
    with torch.device("meta"):
        nets = {mode: backbone_class("vgg16")(padding_mode=mode) for mode in ("window", "plain")}
    direct = {mode: {m.direct for m in net.modules() if isinstance(m, Convolution)} for mode, net in nets.items()}
    assert direct == {"window": {False}, "plain": {True}}
