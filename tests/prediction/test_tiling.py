"""Parts of images: they cover the image, fit memory, and give the logits of the whole."""

import numpy as np
import pytest
import torch

from fcnseg.fcn import FCN
from fcnseg.prediction.predictor import Predictor
from fcnseg.prediction.tiling import Region, Tiling, bytes_per_pixel, reach, region_logits, tiling

NETS = [("squeezenet", 4, {}), ("alexnet", 32, {}), ("vgg16", 32, {"padding": "same"})]
LARGE = [("vgg16", 8, {}), ("resnet50", 8, {}), ("bvlc_googlenet", 16, {})]
NETS += [pytest.param(*net, marks=pytest.mark.slow) for net in LARGE]


def made(narrow, name, stride, **options):
    """A narrow net of random weights in double precision, whose score layers are not zero."""
    torch.manual_seed(1)
    backbone = narrow(name)(**options)
    stride = stride if stride in backbone.grids else min(backbone.grids)
    net = FCN(backbone, 3, stride)
    for layer in net.score_layers:
        torch.nn.init.normal_(layer.weight)
    return net.double().eval()


def logits_of(net, images, cut):
    """The logits of all regions, laid together."""
    height, width = images.shape[2:]
    found = torch.full((len(images), net.num_classes, height, width), torch.nan, dtype=torch.float64)
    with torch.inference_mode():
        for region in cut.regions(height, width):
            seen = cut.seen(region, height, width)
            scores = net.scores(images[:, :, *seen.slices])
            parts = [(0, 7), (7, region.size[0])] if region.size[0] > 7 else [(0, region.size[0])]
            logits = [region_logits(net, scores, seen, region, rows) for rows in parts]
            found[:, :, *region.slices] = torch.cat(logits, 2)
    return found


def noise(*shape):
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize(("name", "stride", "options"), NETS)
def test_logits_of_parts_are_those_of_the_whole(narrow, name, stride, options):
    net = made(narrow, name, stride, **options)
    cut = tiling(net, 2 * reach(net) + 2 * net.strides[0], 0)
    images = noise(1, 3, cut.side + 117, 83)
    assert len(cut.regions(*images.shape[2:])) > 1
    with torch.inference_mode():
        whole = net(images)
    assert (logits_of(net, images, cut) - whole).abs().max() <= 1e-9 * whole.abs().max()


def test_parts_along_both_sides(narrow):
    net = made(narrow, "squeezenet", 16)
    cut = tiling(net, 2 * reach(net) + 4 * net.strides[0], 0)
    images = noise(1, 3, cut.side + 41, cut.side + 10)
    assert len(cut.regions(*images.shape[2:])) >= 4
    with torch.inference_mode():
        whole = net(images)
    assert (logits_of(net, images, cut) - whole).abs().max() <= 1e-9 * whole.abs().max()


def test_a_smaller_margin_or_other_starts_would_not_do(narrow):
    net = made(narrow, "squeezenet", 16)
    cut = tiling(net, 2 * reach(net) + 2 * net.strides[0], 0)
    images = noise(1, 3, cut.side + 117, 83)
    with torch.inference_mode():
        whole = net(images)
    for other in (cut._replace(margin=cut.margin // 2), cut._replace(stride=7)):
        assert (logits_of(net, images, other) - whole).abs().max() > 1e-6 * whole.abs().max()


@pytest.mark.parametrize("side", [80, 100, 131, 400])
@pytest.mark.parametrize("pixels", [1, 99, 100, 101, 555, 1000])
def test_regions_cover_every_pixel_once_and_are_seen_within_the_side(side, pixels):
    cut = Tiling(side, 32, 16)
    times = np.zeros((pixels, 7), int)
    for region in cut.regions(pixels, 7):
        times[region.slices] += 1
        seen = cut.seen(region, pixels, 7)
        assert region.rows[0] % 16 == seen.rows[0] % 16 == 0
        assert seen.size[0] <= side
        assert seen.rows[0] == 0 or region.rows[0] - seen.rows[0] == 32
        assert seen.rows[1] == pixels or seen.rows[1] - region.rows[1] == 32
    assert (times == 1).all()


def test_an_image_that_fits_is_seen_whole():
    assert Tiling(100, 32, 16).regions(100, 90) == [Region((0, 100), (0, 90))]


def test_memory_decides_on_the_side_and_scales_take_their_share(narrow):
    net = made(narrow, "squeezenet", 16)
    memory = 2000**2 * bytes_per_pixel(net)
    assert tiling(net, None, memory).side == 2000
    assert tiling(net, None, memory, scale=2.0).side == 1000
    assert tiling(net, None, 0).side == 2 * reach(net) + net.strides[0]


def test_squares_that_hold_nothing_but_margins_are_refused(narrow):
    net = made(narrow, "squeezenet", 16)
    with pytest.raises(ValueError, match=rf"tile=200 leaves nothing .* set tile={2 * reach(net) + 16} or more"):
        tiling(net, 200, 1e9)


def test_reach_is_the_receptive_field_and_the_upsampling(narrow):
    for stride, pixels in ((8, 404 // 2 + 1 + 32 + 16 + 8), (32, 404 // 2 + 1 + 32)):  # in whole cells of 32 pixels
        assert reach(made(narrow, "vgg16", stride)) == -(-pixels // 32) * 32


def test_wider_nets_take_more_memory(narrow):
    thin, wide = made(narrow, "vgg16", 32), made(narrow, "vgg16", 8)
    wide.num_classes = 300
    assert bytes_per_pixel(wide) > bytes_per_pixel(thin) > 0


def test_labels_of_parts_are_those_of_the_whole(narrow):
    net = made(narrow, "squeezenet", 16)
    cut = tiling(net, 2 * reach(net) + 2 * net.strides[0], 0)
    images = noise(1, cut.side + 99, 75, 3).numpy()
    (parts,), (whole,) = (Predictor(net, each).predict(images, True) for each in (cut, Tiling(10**6, 0, 16)))
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, atol=1e-3)
    assert len(np.unique(whole.labels)) > 1
