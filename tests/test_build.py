"""From configuration to objects: only what belongs to the package, with what was asked for."""

import re

import pytest
import torch
from safetensors.torch import save_file

from fcnseg import build
from fcnseg.backbones import backbone_class
from fcnseg.data.chance import LossChance
from fcnseg.data.jitter import Jitter
from fcnseg.data.shapes import Shapes
from fcnseg.recipe import departures
from fcnseg.results import split_remarks
from fcnseg.resumption import Checkpoints
from runs import OUTSIDE, SMALL, composed
from tiny_voc import write_devkit


def rates(config):
    net, _ = build.build_net(config, 5)
    optimizer, scheduler = build.make_optimizer(config, net)
    return (
        optimizer,
        scheduler,
        {group["name"]: [group["lr"], group["weight_decay"]] for group in optimizer.param_groups},
    )


def saved_stage(path, **options):
    """A checkpoint as training writes it, of a net with weights that are not the initial ones."""
    config = composed(*SMALL, "model=fcn16s", *(f"{key}={value}" for key, value in options.items()))
    task = build.build_task(config, Shapes("val", 1, 32, 32, 0))
    for parameter in task.parameters():
        parameter.data.add_(0.25)
    torch.save({"state_dict": task.state_dict(), "fcnseg": task.record, "global_step": 3}, path)
    return task


# ---- names are looked up inside the package alone


@pytest.mark.parametrize("name", [*OUTSIDE, "base", "layers", "pretrained"])
def test_a_backbone_outside_the_package_is_refused(name):
    message = rf"backbone\.name={re.escape(name)} is no backbone; choose one of .*squeezenet.*vgg16"
    with pytest.raises(ValueError, match=message):
        backbone_class(name)


def test_every_backbone_has_a_choice_of_its_name():
    from fcnseg.config import CONF_DIR

    for name in (path.stem for path in (CONF_DIR / "backbone").glob("*.yaml")):
        assert backbone_class(composed(f"backbone={name}").backbone.name).__module__ == f"fcnseg.backbones.{name}"


# ---- data


def kinds(augmentation):
    """The names of its steps, or of albumentations' transforms in them."""
    steps = [getattr(step, "transform", step) for step in augmentation.steps]
    return [getattr(step, "__name__", type(step).__name__) for step in steps]


def test_training_images_are_varied_and_validation_images_are_not():
    data = build.build_data(composed(*SMALL, "data.image_side=36"))
    train, val = (kinds(part.transform) for part in (data.train, data.val))
    assert (val, data.val.jitter) == (["LongestMaxSize"], None)
    assert train == ["LongestMaxSize", "RandomScale", "Crop", "mirror_half"]
    assert data.train.jitter == Jitter(0.3, 0)
    assert (data.batch_size, data.batching, data.workers, data.replacement) == (2, "crop", 0, False)


def test_the_papers_augmentation_mirrors_and_moves_whole_images():
    config = composed(
        "backbone=squeezenet", "recipe=cvpr2015", "model=fcn16s", "data.augment=paper", "optimizer.lr=1e-4"
    )
    data = build.build_data(config)
    assert kinds(data.train.transform) == ["Affine", "mirror_half"]
    assert data.train.transform.steps[0].transform.translate_px == {"x": (-32, 32), "y": (-32, 32)}
    assert data.val.transform.steps == ()
    assert data.train.jitter is None
    assert "data.augment" in departures(config)


def test_the_seed_decides_order_and_augmentation():
    first, second, other = (build.build_data(composed(*SMALL, f"seed={seed}")) for seed in (0, 0, 5))
    batches = [next(iter(data.train_dataloader())).images for data in (first, second, other)]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


def test_training_images_that_are_validated_on_stop_the_run_are_removed_or_let_through(tmp_path):
    root = f"data.root={write_devkit(tmp_path)}"
    leaky = ["data=voc2012", root, "data.train_split=trainval", "data.val_split=train"]
    with pytest.raises(ValueError, match=r"^3 of the 5 training images are validation images too: 2012_000000, "):
        build.build_data(composed(*leaky))
    for overlap, count, remarks in (("remove", 2, {"split_removed"}), ("allow", 5, {"split_overlap"})):
        data = build.build_data(composed(*leaky, f"data.overlap={overlap}", "data.overlap_by=contents"))
        assert (len(data.train), len(data.val)) == (count, 3)
        assert split_remarks(data) == {remark: {"train": 3} for remark in remarks}
    assert build.build_data(composed(*leaky), parts=("val",)).train is None


def test_a_training_keeps_its_images_decoded_and_gets_the_same_batches(tmp_path):
    asked = ("data=voc2012", f"data.root={write_devkit(tmp_path / 'voc')}", "data.workers=1", "data.batch_size=3")
    kept = tmp_path / "kept"
    batches = []
    for keys in (asked, *[(*asked, f"data.decoded={kept}")] * 2):
        data = build.build_data(composed(*keys))
        batches.append([*data.train_dataloader(), *data.val_dataloader()])
    assert len(list(kept.iterdir())) == 5
    for one, *others in zip(*batches, strict=True):
        for other in others:
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.targets, other.targets)
    assert build.build_data(composed(*asked, f"data.decoded={kept}"), parts=("val",)).val.source.decoded is None
    with pytest.raises(ValueError, match=r"data\.decoded=/x has no meaning for data=shapes"):
        build.build_data(composed(*SMALL, "data.decoded=/x"))


# ---- net and task


def test_the_net_has_the_classes_of_the_data_set_or_more():
    task = build.build_task(composed(), Shapes("val", 1, 32, 32, 0))
    assert task.model.num_classes == task.record["num_classes"] == 21
    assert build.build_task(composed("model.num_classes=30"), Shapes("val", 1, 32, 32, 0)).model.num_classes == 30


def test_the_loss_is_the_configurations():
    pixels = [90, *[10] * 20]
    keys = ["loss.keep=0.5", "loss.class_weights=balanced", "loss.balance_sampling=true", "model.num_classes=22"]
    task = build.build_task(composed(*keys), Shapes("val", 1, 32, 32, 0), pixels)
    assert (task.loss.keep, task.record["class_pixels"]) == (0.5, pixels)
    assert task.loss.class_weights.tolist() == pytest.approx([290 / (21 * 90), *[290 / 210] * 20, 1])
    assert task.loss.class_rates.tolist() == pytest.approx([1 / 9, *[1] * 21])
    assert not {"loss.class_weights", "loss.class_rates"} & task.state_dict().keys()
    plain = build.build_task(composed(), Shapes("val", 1, 32, 32, 0)).loss
    assert (plain.keep, plain.class_weights, plain.class_rates) == (1, None, None)


def test_weights_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match=r"loss\.class_weights has 2 weights, but the net has 21 classes"):
        build.build_task(composed("loss.class_weights=[1,2]"), Shapes("val", 1, 32, 32, 0))


@pytest.mark.parametrize("key", ["loss.keep=0.5", "loss.balance_sampling=true"])
def test_images_carry_a_number_where_the_loss_samples(key):
    for config, chance in ((composed(*SMALL), None), (composed(*SMALL, key, "seed=3"), LossChance(3))):
        data = build.build_data(config)
        assert (data.train.chance, data.val.chance) == (chance, None)
        chances = next(iter(data.train_dataloader())).chances
        assert chances is None if chance is None else (chances.dtype, len(set(chances.tolist()))) == (torch.int64, 2)


def test_a_net_from_pool4_alone():
    config = composed("model=fcn16s_pool4", "backbone=vgg16", "backbone.weights=none")
    with torch.device("meta"):
        net = build.bare_net(config, 21)
    assert net.strides == [16]
    assert len(net.score_layers) == 1


def test_fewer_classes_than_the_data_set_has_are_refused():
    with pytest.raises(ValueError, match=r"model\.num_classes=2, but data=shapes has 21 classes"):
        build.build_task(composed("model.num_classes=2"), Shapes("val", 1, 32, 32, 0))


def test_the_optimizer_has_the_rates_of_the_configuration():
    lr = "optimizer.lr=1e-3"
    optimizer, _, groups = rates(composed("recipe=cvpr2015", lr, "optimizer.head_lr_factor=10"))
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.9
    expected = {"base_weights": [1e-3, 5e-4], "base_biases": [2e-3, 0], "head_weights": [1e-2, 5e-4]}
    assert groups == expected | {"head_biases": [2e-2, 0]}
    optimizer, _, groups = rates(composed(lr, "optimizer.momentum=0.8", "model.train=head"))
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["betas"] == (0.8, 0.999)
    assert set(groups) == {"head_weights", "head_biases"}


def test_the_optimizer_holds_every_parameter_once():
    config = composed()
    net, _ = build.build_net(config, 5)
    held = [
        id(parameter) for group in build.make_optimizer(config, net)[0].param_groups for parameter in group["params"]
    ]
    assert sorted(held) == sorted(id(parameter) for parameter in net.parameters())


@pytest.mark.parametrize(("keys", "doubled"), [([], False), (["optimizer.bias_rule=all"], True)])
def test_the_releases_alexnet_has_a_rule_of_its_own_for_biases(keys, doubled):
    config = composed("backbone=caffenet", "backbone.weights=none", "model=fcn32s", "recipe=release_alexnet", *keys)
    with torch.device("meta"):
        net, _ = build.build_net(config, 21)
    groups = {group["name"]: group["lr"] for group in build.optimizer_groups(config, net)}
    expected = {"base_weights": 1e-4, "head_weights": 1e-4, "head_biases": 2e-4}
    assert groups == expected | ({"base_biases": 2e-4} if doubled else {})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], "batch"),
        (["init_from=run"], "frozen"),
        (["backbone.weights=a.pt"], "frozen"),
        (["backbone.batch_norm=frozen"], "frozen"),
    ],
)
def test_batch_normalisation_is_frozen_where_there_are_statistics(keys, expected):
    with torch.device("meta"):
        assert build.bare_net(composed(*keys), 21).backbone.batch_norm == expected


def test_the_images_channels_reach_backbone_and_statistics():
    config = composed("backbone.in_channels=4", "backbone.normalization=caffe", "backbone.mean=[1,2,3,4]")
    net, _ = build.build_net(config, 21)
    assert net(torch.zeros(1, 4, 40, 40)).shape == (1, 21, 40, 40)
    assert net.backbone.mean.tolist() == [1, 2, 3, 4]


def test_the_schedule_follows_the_configuration():
    config = composed("trainer.max_steps=100", "optimizer.warmup=0")
    optimizer, scheduler, groups = rates(config)
    for _ in range(50):
        optimizer.step()
        scheduler.step()
    now = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert now == pytest.approx({name: lr * 0.5**0.9 for name, (lr, _) in groups.items()})


# ---- a finer net from a coarser one


@pytest.mark.parametrize("as_run", [True, False])
def test_a_finer_net_starts_from_a_run_folder_or_a_checkpoint(tmp_path, as_run):
    path = tmp_path / "checkpoints" / "last.ckpt"
    path.parent.mkdir()
    coarser = saved_stage(path, **{"backbone.normalization": "caffe"}).model
    config = composed("model=fcn8s", f"init_from={tmp_path if as_run else path}")
    net, weights_from = build.build_net(config, 21)
    state = net.state_dict()
    assert weights_from == str(path)
    assert all(torch.equal(state[name], value) for name, value in coarser.state_dict().items())
    assert set(state) - set(coarser.state_dict()) == {"score_pool3.weight", "score_pool3.bias"}
    assert not state["score_pool3.weight"].any()
    assert net.backbone.normalization == coarser.backbone.normalization
    assert net.backbone.normalization.order == "bgr"


def test_a_learned_upsampling_is_new_in_the_finer_net(tmp_path):
    saved_stage(tmp_path / "a.ckpt")
    config = composed("model=fcn8s", "model.learn_intermediate=true", f"init_from={tmp_path / 'a.ckpt'}")
    net, _ = build.build_net(config, 21)
    assert net.upsample16.weight.requires_grad


def test_another_backbone_is_no_coarser_form(tmp_path):
    saved_stage(tmp_path / "a.ckpt")
    config = composed("backbone=vgg16", "backbone.padding=same", f"init_from={tmp_path / 'a.ckpt'}")
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match=r"init_from=.*a\.ckpt is not the coarser form of this net"),
    ):
        build.build_net(config, 21)


def published(net, path, **metadata):
    state = {name.removeprefix("backbone."): value.contiguous() for name, value in net.state_dict().items()}
    save_file(state, path, metadata)
    return path


def test_a_net_starts_from_a_published_file(tmp_path):
    source = build.bare_net(composed("model=fcn16s"), 21)
    torch.nn.init.normal_(source.score_fr.weight)
    path = published(source, tmp_path / "net.safetensors", normalization="caffe")
    net, weights_from = build.build_net(composed("model=fcn8s", f"init_from={path}"), 21)
    assert weights_from == "net.safetensors"
    assert torch.equal(net.score_fr.weight, source.score_fr.weight)
    assert torch.equal(net.backbone.conv1.weight, source.backbone.conv1.weight)
    assert not net.score_pool3.weight.any()
    assert net.backbone.normalization.order == "bgr"


def test_a_published_file_must_say_its_normalisation_or_be_told(tmp_path):
    path = published(build.bare_net(composed("model=fcn16s"), 21), tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"init_from=.*net.safetensors does not say .* set backbone.normalization"):
        build.build_net(composed("model=fcn16s", f"init_from={path}"), 21)
    told = composed("model=fcn16s", f"init_from={path}", "backbone.normalization=torchvision")
    assert build.build_net(told, 21)[0].backbone.normalization.order == "rgb"


def test_a_missing_coarser_net_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no checkpoint and no run folder {tmp_path / 'nosuch'}"):
        build.build_net(composed(f"init_from={tmp_path / 'nosuch'}"), 21)


# ---- trainer


def test_the_trainer_is_the_configurations(tmp_path):
    config = composed(*SMALL, "trainer.accumulate=3", "trainer.val_every=4", "trainer.clip=2.5", "trainer.max_steps=9")
    trainer = build.build_trainer(config, tmp_path, [])
    assert (trainer.max_steps, trainer.max_epochs) == (9, -1)
    assert (trainer.accumulate_grad_batches, trainer.gradient_clip_val) == (3, 2.5)
    assert trainer.val_check_interval == 12  # batches
    assert trainer.limit_val_batches == 2
    assert trainer.world_size == 1


@pytest.mark.parametrize(("precision", "exact"), [("32-true", True), ("auto", True), ("bf16-mixed", False)])
def test_training_and_evaluation_compute_alike(tmp_path, monkeypatch, precision, exact):
    config = composed(*SMALL, f"trainer.precision={precision}")
    for built in (lambda: build.build_trainer(config, tmp_path, []), lambda: build.build_evaluator(config, [])):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", exact)
        trainer = built()
        assert torch.backends.cudnn.allow_tf32 is not exact
        assert trainer.precision == ("32-true" if exact else precision)
        assert trainer.limit_val_batches == 2


def test_a_run_writes_checkpoints_as_the_configuration_says(tmp_path):
    config = composed(*SMALL, "trainer.save_steps=7", "trainer.save_minutes=2.5")
    trainer = build.build_trainer(config, tmp_path, [])
    first = trainer.callbacks[0]
    assert isinstance(first, Checkpoints)  # before others have logged anything of the next step
    assert (first.every_steps, first.every_s, first.folder) == (7, 150, tmp_path / "checkpoints")
