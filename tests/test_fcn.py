"""The net: any size, and scores that lie where they belong."""

import jaxtyping
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

import fcnseg
from fcnseg.backbones import backbone_class
from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.backbones.vgg16 import VGG16
from fcnseg.fcn import FCN, best_classes, fuse
from fcnseg.geometry import Grid
from fcnseg.losses import PixelCrossEntropy
from fcnseg.shapes import Features
from fcnseg.upsampling import kept_spread
from fcnseg.weights.normalization import Normalization

PLAIN = Normalization("rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def difference(ours, theirs):
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def randomised(net, seed=0):
    """Fills the score layers, which start at zero, and turns dropout off."""
    torch.manual_seed(seed)
    for layer in net.score_layers:
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    return net.eval()


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


# ---- what can be said without running

PARAMETERS = 134_346_581


@pytest.mark.parametrize(
    ("name", "parameters", "crops"),
    [
        ("fcn32s", PARAMETERS, (19,)),
        ("fcn16s", PARAMETERS + 10_773, (5, 27)),
        ("fcn8s", PARAMETERS + 10_773 + 5_397, (5, 9, 31)),
        ("fcn8s_atonce", PARAMETERS + 10_773 + 5_397, (5, 9, 31)),
    ],
)
def test_describe_says_the_papers_numbers(name, parameters, crops):
    with torch.device("meta"):
        said = fcnseg.create_model(name).describe()
    assert (said.receptive_field, said.max_stride, said.conv_layers) == (404, 32, 16)
    assert (said.parameters, said.crops) == (parameters, crops)


@pytest.mark.parametrize("padding", [100, "same"])
@pytest.mark.parametrize("stride", [32, 16, 8])
def test_described_crops_are_those_that_are_made(stride, padding, narrow, monkeypatch):
    net, made = FCN(narrow("vgg16")(padding, padding_mode="plain"), 3, stride), []

    def crop_to(grid, target, real=Grid.crop_to):
        cells = real(grid, target)
        made.append(cells)
        return cells

    monkeypatch.setattr(Grid, "crop_to", crop_to)
    net(noise(1, 3, 50, 70))
    monkeypatch.undo()
    assert net.describe().crops == tuple(made)


def test_learned_upsampling_counts_as_parameters():
    with torch.device("meta"):
        fixed, learned = (FCN(VGG16(), 21, 8, learn_intermediate=learn, learn_final=learn) for learn in (False, True))
    assert learned.describe().parameters - fixed.describe().parameters == 21 * 21 * (4**2 + 4**2 + 16**2)


# ---- the last upsampling


@pytest.mark.parametrize("stride", [16, 8, 4])
def test_learned_upsampling_starts_where_the_fixed_one_stays(stride):
    net = randomised(FCN(SqueezeNet(), 4, stride)).double()
    learned = FCN(net.backbone, 4, stride, learn_intermediate=True, learn_final=True).double().eval()
    learned.load_state_dict(net.state_dict(), strict=False)
    images = noise(1, 3, 45, 38)
    assert difference(learned(images), net(images)) < 1e-9


def test_scores_in_half_precision_are_upsampled_in_full():
    net = FCN(SqueezeNet(), 2, 16)
    features = net.scores(noise(1, 3, 33, 33))
    logits = net.upsample(Features(features.tensor.bfloat16(), features.grid), (33, 33))
    assert logits.dtype == torch.float32


# ---- any size


CASES = [
    (name, padding, stride)
    for name, strides in (("squeezenet", (16, 8, 4)), ("vgg16", (32, 16, 8)))
    for padding in (100, "same")
    for stride in strides
]


@pytest.fixture(scope="module")
def weightless():
    """Nets on the meta device, where shapes are all there is."""
    with torch.device("meta"):
        return {(name, *rest): built(name, *rest) for name, *rest in CASES}


def built(name, padding, stride):
    return FCN(backbone_class(name)(padding), 2, stride)


@pytest.mark.parametrize("case", CASES)
@given(height=st.integers(1, 70), width=st.integers(1, 70))
@settings(max_examples=6, deadline=None)
def test_logits_have_the_images_size(case, height, width, weightless):
    assert weightless[case](torch.zeros(1, 3, height, width, device="meta")).shape == (1, 2, height, width)


@pytest.mark.parametrize("case", CASES)
def test_logits_of_large_images_have_their_size(case, weightless):
    for size in ((500, 375), (1, 501)):
        assert weightless[case](torch.zeros(1, 3, *size, device="meta")).shape == (1, 2, *size)


@pytest.mark.parametrize("name", ["squeezenet", "vgg16"])
@pytest.mark.parametrize("size", [(1, 1), (2, 31), (33, 1)])
def test_tiny_images_get_logits_that_are_numbers(name, size, narrow):
    net = randomised(FCN(narrow(name)(), 2, 8))
    with torch.inference_mode():
        logits = net(noise(2, 3, *size))
    assert logits.shape == (2, 2, *size)
    assert logits.isfinite().all()


def test_padding_that_leaves_pixels_unscored_is_refused():
    with pytest.raises(ValueError, match=r"cover 79x95 pixels of an image of 80x96: backbone.padding is too small"):
        FCN(SqueezeNet(0), 2, 16)(noise(1, 3, 80, 96))


# ---- batches


@pytest.mark.parametrize(("backbone", "stride"), [("squeezenet", 16), ("squeezenet", 4), ("vgg16", 8)])
def test_a_batch_of_equal_sizes_equals_its_single_images(backbone, stride, narrow):
    net = randomised(FCN(narrow(backbone)(), 5, stride)).double()
    images = noise(3, 3, 37, 52)
    with torch.inference_mode():
        together, apart = net(images), torch.cat([net(image[None]) for image in images])
    assert difference(together, apart) < 1e-12


def test_what_lies_in_the_pad_does_not_matter():
    net = randomised(FCN(SqueezeNet(), 3, 8)).double()
    images, sizes = noise(2, 3, 48, 48), torch.tensor([[48, 30], [21, 48]])
    other = images.clone()
    other[0, :, :, 30:] = 255 - other[0, :, :, 30:]
    other[1, :, 21:] = 0
    with torch.inference_mode():
        assert torch.equal(net(images, sizes), net(other, sizes))
        assert not torch.equal(net(images), net(other))


def test_the_pad_is_zero_after_normalisation():
    net = randomised(FCN(SqueezeNet(), 3, 16)).double()
    image = noise(1, 3, 32, 48)
    mean = net.backbone.mean * net.backbone.normalization.scale
    filled = image.double()
    filled[:, :, :, 33:] = mean[:, None, None]
    with torch.inference_mode():
        assert difference(net(image, torch.tensor([[32, 33]])), net(filled)) < 1e-9


# ---- scores lie where they belong


def evened(net):
    """Makes every filter flat and positive, so that the answer to a bright pixel is symmetric about it."""
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            torch.nn.init.zeros_(module.bias)
    return net.double().eval()


@pytest.mark.parametrize(
    ("backbone", "stride", "side", "axis"),
    [("squeezenet", 16, 448, 3), ("squeezenet", 4, 448, 2), ("vgg16", 32, 640, 3), ("vgg16", 8, 640, 2)],
)
@pytest.mark.parametrize("padding", [100, "same"])
def test_the_answer_to_a_pixel_is_centred_on_it(backbone, stride, side, axis, padding, narrow):
    net = evened(FCN(narrow(backbone)(padding, PLAIN, 0.0), 2, stride))
    period = max(net.backbone.grids)
    pixels = torch.arange(period) + side // 2
    images = torch.zeros(period, 3, 1, side, dtype=torch.float64)
    images[torch.arange(period), :, 0, pixels] = 1000
    with torch.inference_mode():
        answer = net(images if axis == 3 else images.transpose(2, 3))[:, 0].sum(4 - axis)
    assert answer[:, [0, -1]].abs().max() == 0
    distances = torch.arange(side) - pixels[:, None]
    assert abs(float((answer * distances).sum() / answer.sum())) < 1e-9


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_moving_the_image_by_the_largest_stride_moves_the_logits_alike(stride, narrow):
    net = randomised(FCN(narrow("vgg16")(100, PLAIN), 3, stride)).double()
    images = torch.zeros(1, 3, 128, 128, dtype=torch.float64)
    images[:, :, 40:56, 44:54] = noise(1, 3, 16, 10).double()
    moved = torch.zeros_like(images)
    moved[:, :, 72:88, 76:86] = images[:, :, 40:56, 44:54]
    with torch.inference_mode():
        here, there = (net(image)[:, :, low : low + 32, low : low + 32] for image, low in ((images, 32), (moved, 64)))
    assert float(here.std((2, 3)).min()) > 0
    assert difference(there, here) < 1e-9


# ---- fusing


def features(rows, columns, grid, value=1.0):
    return Features(torch.full((1, 2, rows, columns), value, dtype=torch.float64), grid)


def test_fusing_adds_on_the_cells_that_both_have():
    ramp = torch.arange(35.0).reshape(1, 1, 5, 7)
    coarse, skip = Features(ramp, Grid(8, 12.0, 9)), Features(10 * ramp, Grid(8, -4.0, 30))
    fused = fuse(coarse, skip)
    assert fused.grid == Grid(8, 12.0, 30)
    assert torch.equal(fused.tensor, ramp[:, :, :3, :5] + 10 * ramp[:, :, 2:, 2:])
    assert torch.equal(fuse(skip, coarse).tensor, fused.tensor)
    assert fuse(skip, coarse).grid == fused.grid


@pytest.mark.parametrize("grid", [Grid(8, 1.0), Grid(8, 0.5), Grid(16, 0.0)])
def test_fusing_cells_that_never_coincide_is_refused(grid):
    with pytest.raises(ValueError, match="do not coincide"):
        fuse(features(3, 3, Grid(8, 0.0)), features(3, 3, grid))


# ---- building


def test_score_layers_start_at_zero_and_so_do_logits():
    net = FCN(SqueezeNet(), 21, 4)
    assert [name for name, module in net.named_modules() if module in net.score_layers] == [
        "score_fr",
        "score_pool3",
        "score_pool2",
    ]
    assert not net(noise(1, 3, 40, 40)).any()


@pytest.mark.parametrize("scales", [(), (0.5,), (0.5, 0.25), (0.5, 0.25, 0.125)])
def test_scales_weigh_the_skips_from_coarse_to_fine(scales):
    net = randomised(FCN(SqueezeNet(), 3, 4)).double()
    scaled = FCN(net.backbone, 3, 4, scales=scales).double().eval()
    scaled.load_state_dict(net.state_dict())
    with torch.no_grad():
        for layer, scale in zip((net.score_pool3, net.score_pool2), scales, strict=False):
            layer.weight *= scale
    images = noise(1, 3, 40, 40)
    assert difference(scaled(images), net(images)) < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_stride": 32}, r"output_stride=32 .* SqueezeNet: its coarsest map has stride 16; choose one of 16, 8"),
        ({"output_stride": 2}, r"output_stride=2 .* it has no such map; choose one of 16, 8, 4"),
        ({"num_classes": 1}, r"num_classes counts background, so it is at least 2, not 1"),
    ],
)
def test_what_the_backbone_cannot_give_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FCN(SqueezeNet(), **{"num_classes": 3, "output_stride": 16} | options)


def test_shapes_are_checked_while_the_tests_run():
    with pytest.raises(jaxtyping.TypeCheckError, match="n c h w"):
        FCN(SqueezeNet(), 2, 16)(torch.zeros(3, 40, 40))


# ---- without the coarser streams


@pytest.mark.parametrize(
    ("coarsest", "stride", "layers"), [(16, 16, ["score_pool4"]), (16, 8, ["score_pool4", "score_pool3"])]
)
def test_a_net_can_begin_at_a_finer_map(narrow, coarsest, stride, layers):
    net = FCN(narrow("vgg16")(), 3, stride, coarsest=coarsest)
    assert [name for name, _ in net.named_children() if name.startswith("score")] == layers
    assert [net.score_name(each) for each in net.strides] == layers
    assert net.describe().max_stride == coarsest
    net(noise(1, 3, 41, 53)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())  # DDP would wait for those that are not


def test_the_backbones_own_coarsest_map_changes_nothing(narrow):
    torch.manual_seed(0)
    trunk, images = narrow("vgg16")(dropout=0.0), noise(1, 3, 41, 53)
    nets = [randomised(FCN(trunk, 3, 8)), randomised(FCN(trunk, 3, 8, coarsest=32))]
    nets[1].load_state_dict(nets[0].state_dict())
    assert torch.equal(nets[0](images), nets[1](images))


@pytest.mark.parametrize("coarsest", [8, 64])
def test_a_coarsest_map_that_is_not_there_is_refused(narrow, coarsest):
    said = (
        rf"model.coarsest={coarsest} is not to be had from Narrow with model.output_stride=16: choose one of 32, 16, or"
    )
    with pytest.raises(ValueError, match=said):
        FCN(narrow("vgg16")(), 3, 16, coarsest=coarsest)


# ---- the best class


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@given(st.integers(2, 300), st.integers(1, 40), st.integers(0, 2**32 - 1))
@example(256, 3, 0)
@example(257, 3, 0)
def test_the_best_class_is_the_first_of_the_highest(layout, classes, side, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(0, 5, (2, classes, 3, side), generator=generator).float().to(memory_format=layout)
    found = best_classes(logits)
    assert found.dtype == (torch.uint8 if classes <= 256 else torch.int32)
    expected = logits.numpy().argmax(1)
    assert (found.numpy() == expected).all()


@pytest.mark.parametrize("classes", [256, 257])
def test_the_last_of_many_classes_may_be_the_best(classes):
    logits = torch.zeros(1, classes, 2, 3)
    logits[:, -1] = 1
    assert best_classes(logits).unique().tolist() == [classes - 1]


def test_where_a_logit_is_no_number_its_class_is_the_best():
    logits = torch.tensor([1.0, float("nan"), 3.0]).view(1, 3, 1, 1).expand(1, 3, 9, 40)
    assert best_classes(logits).unique().tolist() == [1]


# ---- on a GPU


class Everything(nn.Module):
    """What a training and a prediction compute."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images, targets):
        scores = self.net.scores(images)
        loss = PixelCrossEntropy()(scores, self.net.upsample, targets)
        return loss.total / loss.weight, self.net(images), self.net.predict(scores, targets.shape[1:])


@pytest.mark.parametrize("name", ["squeezenet", "vgg16"])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
def test_a_gpu_needs_nothing_that_lies_elsewhere(narrow, name, train):
    # No GPU takes part: fake tensors know where they would lie, and refuse to meet others that lie elsewhere.
    backbone = narrow("vgg16")() if name == "vgg16" else backbone_class(name)()
    everything = Everything(FCN(backbone, 5, 8)).train(train)
    named = [*everything.named_parameters(), *everything.named_buffers()]
    kept_spread.cache_clear()
    try:
        with FakeTensorMode(), torch.no_grad():
            there = {key: torch.empty(each.shape, dtype=each.dtype, device="cuda") for key, each in named}
            images = torch.empty(2, 3, 64, 67, dtype=torch.uint8, device="cuda")
            loss, logits, classes = functional_call(everything, there, (images, images[:, 0]))
    finally:
        kept_spread.cache_clear()
    assert {each.device.type for each in (loss, logits, classes)} == {"cuda"}
    assert (logits.shape, classes.shape) == ((2, 5, 64, 67), (2, 64, 67))
