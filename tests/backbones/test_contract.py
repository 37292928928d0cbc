"""What every backbone promises; new ones are found by themselves."""

import re
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model

import fcnseg.backbones
from fcnseg.backbones import backbone_class
from fcnseg.backbones.base import Backbone
from fcnseg.backbones.layers import BatchNorm, Conv, Dropout, LocalResponseNorm, cells_after, named_layers
from fcnseg.backbones.squeezenet import SqueezeNet
from fcnseg.fcn import FCN
from fcnseg.weights.normalization import CAFFE, TORCHVISION, Normalization
from fcnseg.weights.surgery import fitted

FILES = Path(fcnseg.backbones.__file__).parent.glob("*.py")
NAMES = sorted(file.stem for file in FILES if re.search(r"^class \w+\(Backbone\):", file.read_text(), re.MULTILINE))
CONFIGS = Path(__file__).resolve().parents[2] / "conf" / "backbone"

QUICK = [pytest.param(name, marks=[pytest.mark.slow] if name == "resnet101" else []) for name in NAMES]
"""Those whose layers differ; resnet101 is more of resnet50's."""


def weightless(name, *args):
    with torch.device("meta"):
        return backbone_class(name)(*args)


def noise(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def difference(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


def test_every_backbone_has_a_config_and_every_config_a_backbone():
    assert {"caffenet", "vgg16", "bvlc_googlenet", "alexnet", "googlenet", "squeezenet", "resnet50"} <= set(NAMES)
    assert sorted(file.stem for file in CONFIGS.glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_config_names_its_own_backbone(name):
    assert f"name: {name}\n" in (CONFIGS / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_module_defines_one_backbone(name):
    found = backbone_class(name)
    assert issubclass(found, Backbone)
    assert found.__module__ == f"fcnseg.backbones.{name}"


# ---- maps


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_offered_from_fine_to_coarse_at_powers_of_two(name):
    strides = list(weightless(name).grids)
    assert strides == sorted(strides)
    assert len(strides) > 1
    assert all(stride.bit_count() == 1 for stride in strides)


@pytest.mark.parametrize("padding", [None, "same", 100])
@pytest.mark.parametrize("name", NAMES)
def test_maps_have_the_declared_channels_and_grids(name, padding):
    backbone = weightless(name, padding)
    backbone.padding_mode = "plain"
    features = backbone(torch.zeros(2, 3, 75, 130, device="meta"))
    assert {stride: feature.grid for stride, feature in features.items()} == backbone.grids
    assert {stride: feature.tensor.shape[:2] for stride, feature in features.items()} == {
        stride: (2, channels) for stride, channels in backbone.channels.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_neighbouring_maps_differ_by_their_strides(name, narrow):
    small, large = (narrow(name)()(noise(1, 3, side, side)) for side in (64, 128))
    for stride in small:
        rows = [features[stride].tensor.shape[2] for features in (small, large)]
        assert rows[1] - rows[0] == 64 // stride


@pytest.mark.parametrize("padding", ["same", 100])
@pytest.mark.parametrize("name", QUICK)
def test_cells_are_counted_without_computing_them(name, padding):
    backbone = weightless(name, padding)
    for side in (1, 2, 61, 130):
        cells = side
        for layer in backbone.layers:
            cells = cells_after(layer, cells)
        if cells < 1:
            with pytest.raises(RuntimeError, match=r"greater than actual input size|too small"):
                backbone(torch.zeros(1, 3, side, 90, device="meta"))
            continue
        assert list(backbone(torch.zeros(1, 3, side, 90, device="meta")).values())[-1].tensor.shape[2] == cells


@pytest.mark.parametrize("name", NAMES)
def test_dropout_is_the_classifiers_own_unless_said_otherwise(name):
    own = weightless(name)
    drops = {own.get_submodule(layer.name).p for layer in named_layers(own.layers) if isinstance(layer, Dropout)}
    assert drops == {own.dropout_default}
    assert {"googlenet": 0.2, "bvlc_googlenet": 0.4, "resnet50": 0, "resnet101": 0}.get(name, 0.5) in drops


@pytest.mark.parametrize("name", QUICK)
def test_every_map_can_be_the_finest(name):
    backbone = weightless(name)
    with torch.device("meta"):
        for stride in backbone.grids:
            assert FCN(backbone, 5, stride)(torch.zeros(1, 3, 50, 41)).shape == (1, 5, 50, 41)


DEPTHS = {
    "vgg16": 15,
    "vgg19": 18,
    "caffenet": 7,
    "bvlc_googlenet": 21,
    "googlenet": 21,
    "squeezenet": 17,
    "squeezenet32": 17,
    "vgg16_pool5s1": 15,
    "resnet50": 49,
}


@pytest.mark.parametrize(("name", "depth"), DEPTHS.items())
def test_convolutions_are_counted_on_the_longest_path(name, depth):
    assert weightless(name).conv_layers == depth


@pytest.mark.parametrize("name", NAMES)
def test_initial_filters_keep_the_signals_size_and_biases_are_zero(name, narrow):
    backbone = narrow(name)()
    for layer in named_layers(backbone.layers):
        if isinstance(layer, Conv) and layer.outputs * layer.inputs * layer.kernel**2 > 2000:
            module = backbone.get_submodule(layer.name)
            assert float(module.weight.detach().std()) == pytest.approx((2 / module.weight[0].numel()) ** 0.5, rel=0.1)
            assert module.bias is None or not module.bias.any()


# ---- weights of torchvision


TORCHVISION_NAMES = [name for name in NAMES if backbone_class(name).torchvision_model is not None]


def test_the_nets_of_table_1_have_no_like_at_torchvision():
    assert {"caffenet", "bvlc_googlenet"} == set(NAMES) - set(TORCHVISION_NAMES)
    assert all(backbone_class(name).caffe_weights for name in ("caffenet", "vgg16", "bvlc_googlenet"))


@pytest.mark.parametrize("name", TORCHVISION_NAMES)
def test_torchvision_names_cover_every_layer_with_weights_and_the_classifiers_last(name):
    backbone = weightless(name)
    layers = [layer.name for layer in named_layers(backbone.layers) if isinstance(layer, Conv | BatchNorm)]
    assert sorted(backbone.torchvision_names) == sorted([*layers, backbone.head.layer])
    assert len(set(backbone.torchvision_names.values())) == len(layers) + 1


@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
@pytest.mark.parametrize("name", TORCHVISION_NAMES)
def test_torchvisions_weights_fit(name):
    backbone = weightless(name)
    with torch.device("meta"):
        state = get_model(backbone.torchvision_model, weights=None).state_dict()
    fitting = fitted(backbone, state, backbone.torchvision_names, "torchvision")
    assert {key: value.shape for key, value in fitting.items()} == {
        key: value.shape for key, value in backbone.state_dict().items() if not key.endswith("num_batches_tracked")
    }


def filled(backbone, classifier):
    names = backbone.torchvision_names
    backbone.load_state_dict(fitted(backbone, classifier.state_dict(), names, "torchvision"), strict=False)
    backbone.normalize_with(TORCHVISION)
    return backbone.eval()


def as_torchvision(images):
    return (images / 255 - torch.tensor([[[0.485]], [[0.456]], [[0.406]]])) / torch.tensor(
        [[[0.229]], [[0.224]], [[0.225]]]
    )


@pytest.mark.parametrize(("stride", "end"), [(4, 5), (8, 8), (16, 13)])
def test_squeezenet_computes_torchvisions_features(stride, end):
    torch.manual_seed(0)
    theirs = get_model("squeezenet1_1", weights=None).eval()
    ours, images = filled(SqueezeNet(0), theirs), noise(1, 3, 224, 224)
    with torch.inference_mode():
        expected = theirs.features[:end](as_torchvision(images))
        assert difference(ours(images)[stride].tensor, expected) < 1e-5


def test_one_more_pooling_is_all_that_squeezenet32_has_besides():
    torch.manual_seed(0)
    plain, more, images = SqueezeNet(dropout=0.0), backbone_class("squeezenet32")(dropout=0.0), noise(1, 3, 75, 90)
    more.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        ours, expected = more(images), plain(images)
        assert all(torch.equal(ours[stride].tensor, expected[stride].tensor) for stride in (4, 8, 16))
        pooled = torch.nn.functional.max_pool2d(expected[16].tensor, 3, 2, 1, ceil_mode=True)
    assert torch.equal(ours[32].tensor, pooled)
    assert list(ours) == [4, 8, 16, 32]


@pytest.mark.parametrize("paddings", [(100, 132), (100, 164), (132, 100)])
def test_every_second_cell_of_the_finer_vgg16_begins_as_one_of_the_published_net(narrow, paddings):
    torch.manual_seed(0)
    published, finer = (
        narrow("vgg16")(paddings[0]).double().eval(),
        narrow("vgg16_pool5s1")(paddings[1]).double().eval(),
    )
    finer.load_state_dict(fitted(finer, published.state_dict(), {}, "VGG 16"), strict=False)
    with torch.inference_mode():
        (coarse, grid), (fine, fine_grid) = published(noise(1, 3, 170, 140))[32], finer(noise(1, 3, 170, 140))[16]
    # Cell 0 of the finer net is centred half a cell behind the taps that it begins with.
    moved = (fine_grid.offset - 8 - grid.offset) / 32
    assert moved.is_integer()
    same = fine[:, :, ::2, ::2]
    coarse, same = (part[:, :, max(0, n) :, max(0, n) :] for part, n in ((coarse, int(moved)), (same, -int(moved))))
    rows, columns = (min(coarse.shape[axis], same.shape[axis]) for axis in (2, 3))
    assert min(rows, columns) > 2
    assert difference(same[:, :, :rows, :columns], coarse[:, :, :rows, :columns]) < 1e-9


@pytest.mark.parametrize(("stride", "last"), [(16, "conv4_3"), (8, "conv3_3")])
def test_a_backbone_can_end_at_a_finer_map(narrow, stride, last):
    torch.manual_seed(0)
    whole, images = narrow("vgg16")().eval(), noise(1, 3, 60, 70)
    with torch.inference_mode():
        expected = whole(images)
        whole.end_at(stride)
        found = whole(images)
    assert list(found) == [each for each in expected if each <= stride]
    assert all(torch.equal(found[each].tensor, expected[each].tensor) for each in found)
    assert [name for name, _ in whole.named_children()][-2] == last
    assert {"conv5_1", "fc6", "drop7"} <= set(whole.dropped)
    assert whole.state_dict().keys().isdisjoint({f"{name}.weight" for name in whole.dropped})


def test_padding_of_squeezenet_leaves_the_inside_as_it_was():
    torch.manual_seed(0)
    images = noise(1, 3, 224, 224)
    bare, padded = SqueezeNet(0).double().eval(), SqueezeNet(4 * 16).double().eval()
    padded.load_state_dict(bare.state_dict())
    with torch.inference_mode():
        inner, outer = bare(images)[4], padded(images)[4]
    cells, rows = outer.grid.crop_to(inner.grid), inner.tensor.shape[2]
    window = outer.tensor[:, :, cells : cells + rows, cells : cells + rows]
    # The outermost two cells see the zeros that the fire modules' own convolutions are padded with.
    assert difference(window[:, :, 2:-2, 2:-2], inner.tensor[:, :, 2:-2, 2:-2]) < 1e-9


@pytest.mark.slow
def test_vgg16_computes_torchvisions_classifier_in_the_middle_of_its_map(empty_vgg):
    torch.manual_seed(0)
    theirs = get_model("vgg16", weights=None).eval()
    ours, images = filled(empty_vgg(padding="same"), theirs), noise(1, 3, 224, 224)
    with torch.inference_mode():
        features, inputs = ours(images), as_torchvision(images)
        assert difference(features[8].tensor, theirs.features[:17](inputs)) < 1e-5
        assert difference(features[16].tensor, theirs.features[:24](inputs)) < 1e-5
        hidden = theirs.classifier[:6](theirs.features(inputs).flatten(1))
        assert difference(features[32].tensor[:, :, 3, 3], hidden) < 1e-5


# ---- images become inputs


def test_caffes_inputs_are_blue_first_minus_the_mean():
    backbone = SqueezeNet(normalization=CAFFE)
    images = torch.tensor([200.0, 100.0, 50.0]).reshape(1, 3, 1, 1)
    expected = torch.tensor([50 - 104.00699, 100 - 116.66877, 200 - 122.67892]).reshape(1, 3, 1, 1)
    torch.testing.assert_close(backbone.normalize(images), expected)


def test_torchvisions_inputs_are_red_first_on_unit_scale():
    images = noise(2, 3, 4, 5)
    torch.testing.assert_close(SqueezeNet(normalization=TORCHVISION).normalize(images), as_torchvision(images))


@pytest.mark.parametrize("name", NAMES)
def test_bytes_and_floats_are_the_same_image(name, narrow):
    backbone, images = narrow(name)().eval(), noise(1, 3, 40, 40)
    for dtype in (torch.float32, torch.float64):
        for stride, feature in backbone(images).items():
            assert torch.equal(backbone(images.to(dtype))[stride].tensor, feature.tensor)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_the_nets_own_and_stay_out_of_its_file(name):
    backbone = weightless(name)
    assert backbone.normalization == backbone.normalization_default
    assert not {"mean", "std"} & set(backbone.state_dict())


def test_statistics_can_be_changed_when_weights_come():
    backbone, other = SqueezeNet(), Normalization("rgb", 1.0, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    backbone.normalize_with(other)
    pixels = backbone.normalize(torch.tensor([9.0, 12.0, 15.0]).reshape(1, 3, 1, 1))
    assert (backbone.normalization, pixels.flatten().tolist()) == (other, [2, 2, 2])


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ValueError, match=r"reads 3 channels, the images have 4: set backbone.in_channels=4"):
        SqueezeNet()(torch.zeros(1, 4, 40, 40))


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_layer_reads_any_number_of_channels(name, channels, narrow):
    backbone = narrow(name)(in_channels=channels).eval()
    assert {feature.tensor.ndim for feature in backbone(noise(1, channels, 64, 64)).values()} == {4}
    assert len(backbone.mean) == len(backbone.std) == channels


def test_further_channels_follow_the_three_whose_order_turns():
    backbone = SqueezeNet(normalization=Normalization("bgr", 1.0, (1.0, 2.0, 3.0, 4.0), (1.0,) * 4), in_channels=4)
    pixels = backbone.normalize(torch.tensor([11.0, 22.0, 33.0, 44.0]).reshape(1, 4, 1, 1))
    assert pixels.flatten().tolist() == [30, 20, 10, 40]


def test_no_channels_are_refused():
    with pytest.raises(ValueError, match=r"backbone.in_channels must be at least 1, not 0"):
        SqueezeNet(in_channels=0)


# ---- batch normalisation

NORMALISED = [
    name for name in NAMES if any(isinstance(layer, BatchNorm) for layer in named_layers(weightless(name).layers))
]


def test_batch_normalisation_is_in_those_that_have_it():
    assert NORMALISED == ["googlenet", "resnet101", "resnet50", "vgg16_bn"]


@pytest.mark.parametrize("name", NORMALISED)
def test_frozen_statistics_make_an_image_independent_of_its_batch(name, narrow):
    torch.manual_seed(0)
    backbone, images = narrow(name)(dropout=0.0).train(), noise(3, 3, 64, 64)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with torch.no_grad():
        together, alone = backbone(images), backbone(images[:1])
    for stride, feature in alone.items():
        assert difference(together[stride].tensor[:1], feature.tensor) < 1e-5
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize("name", NORMALISED)
def test_batch_statistics_are_followed_on_request(name, narrow):
    backbone = narrow(name)(batch_norm="batch").train()
    before = {key: value.clone() for key, value in backbone.state_dict().items() if "running" in key}
    backbone(noise(2, 3, 96, 96))
    assert not any(torch.equal(value, backbone.state_dict()[key]) for key, value in before.items())


def test_an_unknown_rule_for_statistics_is_refused():
    with pytest.raises(ValueError, match=r"backbone.batch_norm must be one of frozen, batch, not 'sync'"):
        SqueezeNet(batch_norm="sync")


# ---- local response normalisation


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_local_responses_are_squared_in_single_precision(dtype):
    norm, large = LocalResponseNorm("norm1").module(), torch.full((1, 8, 2, 2), 600.0)
    normed = norm(large.to(dtype))
    assert normed.dtype == dtype
    torch.testing.assert_close(normed.float(), norm(large), rtol=1e-2, atol=0)


# ---- dropout


@pytest.mark.parametrize("name", NAMES)
def test_dropout_drops_single_elements_and_no_whole_channels(name):
    torch.manual_seed(0)
    backbone = weightless(name, None, None, 0.5)
    drops = [layer.name for layer in named_layers(backbone.layers) if isinstance(layer, Dropout)]
    assert drops
    for drop in drops:
        dropped = backbone.get_submodule(drop)(torch.ones(2, 6, 20, 20)) == 0
        share = dropped.float().mean((2, 3))
        assert float(share.min()) > 0.3
        assert float(share.max()) < 0.7


@pytest.mark.parametrize("name", NAMES)
def test_dropout_reaches_the_coarsest_map_in_training_alone(name, narrow):
    torch.manual_seed(0)
    backbone = narrow(name)(None, None, 0.5)
    images = noise(1, 3, 96, 96)
    kept = list(backbone.eval()(images).values())[-1].tensor
    dropped = list(backbone.train()(images).values())[-1].tensor
    assert int((dropped == 0).sum()) > int((kept == 0).sum())
    assert torch.equal(kept, list(backbone.eval()(images).values())[-1].tensor)


# ---- what cannot be


@pytest.mark.parametrize("padding", [-1, "valid"])
def test_padding_that_is_no_padding_is_refused(padding):
    with pytest.raises(ValueError, match=r'backbone.padding must be "same" or a number of pixels >= 0, not'):
        SqueezeNet(padding)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_outside_its_range_is_refused(dropout):
    with pytest.raises(ValueError, match=r"backbone.dropout must be at least 0 and below 1"):
        SqueezeNet(dropout=dropout)


def test_an_unknown_backbone_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=f"alexnet0 is no backbone; choose one of {', '.join(NAMES)}"):
        backbone_class("alexnet0")
