"""What cannot work is refused with the key and the remedy, before data, weights or devices are touched."""

import functools

import pytest

from fcnseg import build
from fcnseg.consistency import check, check_files, check_processes
from runs import composed, trained

BARE = ("backbone=vgg16", "backbone.weights=none")
HEAVY = ("recipe=pami_heavy", "backbone=squeezenet", "optimizer.lr=1e-10")

REFUSED = {
    "a summed loss with the rate of a mean one": (
        ["recipe=pami_heavy", "model=fcn32s", "backbone=vgg16", "optimizer.lr=1e-2"],
        r"loss\.reduction=sum .* optimizer\.lr=0\.01 would diverge: take at most 1e-07 .*, or loss\.reduction=mean",
    ),
    "a stride that the backbone lacks": (
        ["model=fcn32s", "backbone=squeezenet"],
        r"model\.output_stride=32 is not to be had from SqueezeNet: its coarsest map has stride 16; choose one of 16",
    ),
    "a finer net without the coarser one": (
        ["model=fcn16s", "recipe=pami_heavy", *BARE, "data=voc2012", "data.root=/"],
        r"starts from a finished fcn32s, .* First run\n  python -m fcnseg\.train model=fcn32s backbone=vgg16 "
        r"recipe=pami_heavy data=voc2012 data.root=/ backbone.weights=none seed=0\n.* add init_from=RUN_FOLDER",
    ),
    "a finer net on both trees": (
        ["model=fcn16s", "recipe=pami_heavy", *BARE, "data=sbd", "data.root=/voc", "data.sbd_root=/sbd"],
        r"  python -m fcnseg\.train .* data=sbd data.root=/voc data.sbd_root=/sbd backbone.weights=none seed=0\n",
    ),
    "the finest net without the one before": (
        ["model=fcn8s", "recipe=cvpr2015", *BARE],
        r"fcn8s starts from a finished fcn16s, .* First run\n  python -m fcnseg\.train model=fcn16s backbone=vgg16 "
        r"recipe=cvpr2015 data=shapes backbone.weights=none seed=0\n.* add init_from=RUN_FOLDER",
    ),
    "the finer net of a light backbone": (
        ["model=fcn8s", *HEAVY],
        r"starts from a finished fcn16s, .* First run\n  python -m fcnseg\.train model=fcn16s backbone=squeezenet ",
    ),
    "torchvision's weights with Caffe's inputs": (
        ["model=fcn32s", "recipe=pami_heavy", "backbone=resnet50", "optimizer.lr=1e-10"],
        r"the ImageNet weights of resnet50 are torchvision's, .* take backbone\.normalization=torchvision",
    ),
    "Caffe's weights with torchvision's inputs": (
        ["model=fcn32s", "backbone=caffenet", "backbone.normalization=torchvision"],
        r"the ImageNet weights of caffenet are Caffe's, .* or set it to caffe",
    ),
    "an unknown accelerator": (["trainer.accelerator=tpu"], r"trainer\.accelerator must be one of auto, cpu, gpu"),
    "an unknown augmentation": (["data.augment=mosaic"], r"data\.augment must be one of null, paper, not 'mosaic'"),
    "an unknown batching": (["data.batching=mosaic"], r"data\.batching must be one of crop, whole, groups, pad"),
    "an unknown way with leaks": (["data.overlap=ignore"], r"data\.overlap must be one of error, remove, allow, not"),
    "an unknown comparison": (["data.overlap_by=looks"], r"data\.overlap_by must be one of ids, contents, not 'looks'"),
    "a range backwards": (["data.scale=[1.5,0.7]"], r"data\.scale must be a range such as \[0\.7,1\.5\]"),
    "a scale of nothing": (["data.scale=[0,1]"], r"data\.scale must be positive"),
    "a crop of nothing": (["data.crop=-1"], r"data\.crop must be positive"),
    "an image of nothing": (["data.image_side=0"], r"data\.image_side must be positive"),
    "momentum for ever": (["optimizer.momentum=1"], r"optimizer\.momentum must be below 1, not 1"),
    "an unknown precision": (["trainer.precision=8"], r"trainer\.precision must be one of auto, 32-true"),
    "an unknown logger": (["logger.name=mlflow"], r"logger\.name must be one of csv, wandb, tensorboard, not 'mlflow'"),
    "one unknown logger of several": (["logger.name=[wandb,mlflow]"], r"logger\.name must be .*, not 'mlflow'"),
    "an unknown artifact": (["logger.artifact=all"], r"logger\.artifact must be one of last, best, null, not 'all'"),
    "half a range": (["data.scale=[1]"], r"data\.scale must be a range"),
    "a range of no numbers": (["data.scale=[nan,1]"], r"data\.scale must be a range"),
    "a range without an end": (["data.scale=[1,inf]"], r"data\.scale must be a range"),
    "another recipe's rate": (
        ["optimizer=sgd"],
        r"recipe=modern gives no learning rate .* optimizer=sgd: set optimizer\.lr",
    ),
    "crops without a size": (
        ["data.crop=null"],
        r"data\.batching=crop needs data\.crop, .*; or data\.batching=whole",
    ),
    "a crop of whole images": (
        ["data.batching=groups", "data.scale=null"],
        r"data\.crop and data\.scale belong to data\.batching=crop, not groups: set them to null",
    ),
    "a scale of padded images": (
        ["data.batching=pad", "data.crop=null"],
        r"data\.crop and data\.scale belong to data\.batching=crop, not pad: set them to null",
    ),
    "colour jitter of padded images": (
        ["data.batching=pad", "data.crop=null", "data.scale=null"],
        r"data\.jitter changes contrast .*: set data\.jitter=0, or take data\.batching=crop or groups",
    ),
    "padded batches under a published recipe": (
        ["model=fcn16s", *HEAVY, "data.batching=pad"],
        r"data\.batching=pad .* recipe=pami_heavy does not allow: take data\.batching=whole",
    ),
    "too little padding, light": (
        ["backbone.padding=0"],
        r"backbone\.padding=0 is too small for squeezenet .*: leave it out, or take backbone\.padding=same",
    ),
    "too little padding": (
        ["backbone=vgg16", "backbone.padding=10"],
        r"backbone\.padding=10 is too small for vgg16 .*: leave it out, or take backbone\.padding=same",
    ),
    "padding of another kind": (["backbone.padding=valid"], r'backbone\.padding must be "same" or a number of pixels'),
    "a mean without its scale": (
        ["backbone.mean=[120,110,100]"],
        r"backbone\.mean and backbone\.std need backbone\.normalization=caffe or torchvision",
    ),
    "a mean on the other scale": (
        ["backbone.mean=[120,110,100]", "backbone.normalization=torchvision"],
        r"backbone\.mean=.* give the mean on 0\.\.1, or set backbone\.normalization=caffe",
    ),
    "images that the backbone cannot read": (
        ["backbone.in_channels=4"],
        r"backbone\.in_channels=4, but images of data=shapes have 3: they are RGB; set backbone\.in_channels=3",
    ),
    "two numbers of channels": (
        ["data=folder", "backbone.in_channels=4", "data.classes=[a,b]", "data.channels=1"],
        r"backbone\.in_channels=4, but images of data=folder have 1: give both keys the same number",
    ),
    "an unknown optimizer": (["optimizer.name=lion"], r"optimizer\.name must be one of sgd, adamw, not 'lion'"),
    "an unknown schedule": (["optimizer.schedule=cosine"], r"optimizer\.schedule must be one of fixed, poly"),
    "an unknown loss": (["loss.reduction=median"], r"loss\.reduction must be one of sum, mean, image_mean"),
    "no patch at all": (["loss.keep=0"], r"loss\.keep is the probability of a patch, above 0 and at most 1, not 0"),
    "more than every patch": (["loss.keep=1.5"], r"loss\.keep is the probability of a patch, .* not 1\.5"),
    "unknown weights of classes": (
        ["loss.class_weights=median"],
        r"loss\.class_weights must be null, balanced, or a list of one number a class, .* not 'median'",
    ),
    "negative weights": (["loss.class_weights=[1,-1]"], r"loss\.class_weights must be .* not \[1, -1\]"),
    "weights of nothing": (["loss.class_weights=[0,0]"], r"loss\.class_weights must be .* not \[0, 0\]"),
    "words for weights": (["loss.class_weights=[a,b]"], r"loss\.class_weights must be .* not \['a', 'b'\]"),
    "a coarsest map that is finer than the finest": (
        ["model=fcn16s", "model.coarsest=8"],
        r"model\.coarsest=8 is not to be had from SqueezeNet with model\.output_stride=16: choose one of 16, or null",
    ),
    "an unknown choice of what is trained": (["model.train=tail"], r"model\.train must be one of all, head"),
    "an unknown rule for biases": (["optimizer.bias_rule=none"], r"optimizer\.bias_rule must be all or score"),
    "an unknown backbone": (["backbone.name=resnet"], r"backbone\.name=resnet is no backbone; choose one of .*vgg16"),
    "dropout of everything": (["backbone.dropout=1"], r"backbone\.dropout must be at least 0 and below 1"),
    "a recipe without a rate for the backbone": (
        ["model=fcn16s", "recipe=pami_heavy", "backbone=squeezenet"],
        r"recipe=pami_heavy gives no learning rate for fcn16s on squeezenet with optimizer=sgd: set optimizer\.lr",
    ),
}

LEAST = {"trainer.max_steps": 1, "trainer.val_every": 1, "trainer.accumulate": 1, "trainer.log_every": 1}
LEAST |= {"trainer.limit_val_batches": 1, "data.batch_size": 1, "data.workers": 0, "data.jitter": 0, "optimizer.lr": 0}
LEAST |= {"optimizer.momentum": 0, "optimizer.weight_decay": 0, "optimizer.warmup": 0, "trainer.clip": 0, "seed": 0}


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """Makes opening data, fetching weights and building a trainer a failure of the test."""

    def fail(*arguments, **options):
        raise AssertionError("touched before the configuration was checked")

    for name in ("open_source", "load_weights", "read_stage", "Trainer"):
        monkeypatch.setattr(build, name, fail)


@pytest.mark.parametrize("overrides", [REFUSED[name][0] for name in REFUSED], ids=list(REFUSED))
def test_is_refused_by_its_key_with_the_remedy(overrides, request):
    message = REFUSED[request.node.callspec.id][1]
    with pytest.raises(ValueError, match=message):
        check(composed(*overrides))


def test_a_row_without_the_one_before_names_that_row():
    config = composed("model=fcn16s", "recipe=pami_heavy", *BARE)
    config.experiment.rows = {"a": ["model=fcn32s", "model.train=head"], "b": ["model=fcn32s"], "c": ["model=fcn16s"]}
    with pytest.raises(ValueError, match=r"Give the same command with row=b, this experiment's fcn32s, in the same"):
        check(config)


def changed(key, value):
    config = composed()
    *path, last = key.split(".")
    setattr(functools.reduce(getattr, path, config), last, value)
    return config


@pytest.mark.parametrize("key", LEAST)
def test_a_number_below_its_least_is_refused_by_its_key(key):
    with pytest.raises(ValueError, match=rf"{key} must be at least {LEAST[key]}, not {LEAST[key] - 1}"):
        check(changed(key, LEAST[key] - 1))


@pytest.mark.parametrize(
    ("batching", "batch_size", "processes", "remedy"),
    [
        ("crop", 1, 2, "data.batch_size=2 or fewer trainer.devices"),
        ("crop", 10, 4, "data.batch_size=12 or fewer trainer.devices"),
        ("whole", 20, 1, "data.batch_size=1 and trainer.accumulate"),
        ("whole", 4, 2, "data.batch_size=2 and trainer.accumulate"),
    ],
)
def test_batches_that_the_processes_cannot_share_are_refused(batching, batch_size, processes, remedy):
    data = composed(f"data.batching={batching}", f"data.batch_size={batch_size}").data
    with pytest.raises(ValueError, match=f"data.batch_size={batch_size}.*set {remedy}"):
        check_processes(data, processes)


@pytest.mark.parametrize(("batching", "batch_size", "processes"), [("crop", 8, 4), ("whole", 2, 2), ("groups", 6, 1)])
def test_batches_that_the_processes_can_share_are_allowed(batching, batch_size, processes):
    check_processes(composed(f"data.batching={batching}", f"data.batch_size={batch_size}").data, processes)


def test_training_asks_for_batches_that_can_be_shared_before_it_opens_data(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(build, "open_source", None)
    with pytest.raises(ValueError, match=r"data\.batching=whole passes one image a process at a time"):
        trained(tmp_path, "model=fcn16s", *HEAVY, "data.batch_size=20", "trainer.accelerator=cpu")


def test_a_run_that_has_not_ended_is_nothing_to_start_from(tmp_path):
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ValueError, match=r"is a run that has not ended: let the same command .*last\.ckpt"):
        check_files(composed(f"init_from={tmp_path}"))
    (tmp_path / "results.json").touch()
    check_files(composed(f"init_from={tmp_path}"))


def test_training_checks_first(tmp_path):
    with pytest.raises(ValueError, match=r"loss\.reduction must be one of"):
        trained(tmp_path, "loss.reduction=median")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AssertionError, match="touched"):
        trained(tmp_path)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=fcn8s_atonce", *HEAVY],
        ["model=fcn8s_atonce", "recipe=pami_heavy", *BARE],
        ["model=fcn16s", *HEAVY],
        ["model=fcn32s", "recipe=cvpr2015", *BARE],
        ["model=fcn16s", "recipe=cvpr2015", "backbone=vgg16", "init_from=runs/32s"],
        ["model=fcn8s", "recipe=modern", "backbone=vgg16"],
        ["model=fcn8s", *HEAVY, "init_from=runs/16s"],
        ["model=fcn16s", *HEAVY, "data.batching=groups", "data.batch_size=20"],
        ["model=fcn16s", *HEAVY, "optimizer.lr=1e-7"],
        ["data.batching=pad", "data.crop=null", "data.scale=null", "data.jitter=0"],
        ["backbone=vgg16", "backbone.padding=same"],
        ["model.output_stride=4"],
        ["data=folder", "backbone.in_channels=7", "data.classes=[a,b]"],
    ],
    ids=" ".join,
)
def test_is_allowed(overrides):
    check(composed(*overrides))


def test_the_first_command_of_a_refusal_is_not_refused():
    with pytest.raises(ValueError, match="First run") as caught:
        check(composed("model=fcn8s", *HEAVY))
    command = str(caught.value).splitlines()[1].split()
    assert command[:3] == ["python", "-m", "fcnseg.train"]
    check(composed(*command[3:], "optimizer.lr=1e-10"))


# ---- files


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("backbone.weights={}/gone.pt", r"backbone\.weights: there is no weights file .*gone\.pt"),
        ("backbone.weights={}", r"backbone\.weights: there is no weights file"),
        ("init_from={}/runs/32s", r"init_from: there is no checkpoint and no run folder .*runs/32s"),
    ],
)
def test_weights_and_runs_that_are_not_there_are_refused_before_data_are_opened(override, message, tmp_path):
    with pytest.raises(FileNotFoundError, match=message):
        check_files(composed(override.format(tmp_path)))


@pytest.mark.parametrize("override", ["backbone.weights=imagenet", "init_from={}", "init_from=fcn32s-heavy-pascal"])
def test_names_and_what_is_there_pass(override, tmp_path):
    check_files(composed(override.format(tmp_path)))
