"""Everything of the engine that we rely on beyond its public API, so that an upgrade that breaks us says where."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ultralytics.cfg import DEFAULT_CFG_DICT
from ultralytics.data import loaders
from ultralytics.engine import predictor, trainer, validator
from ultralytics.models.yolo.detect import DetectionTrainer, DetectionValidator
from ultralytics.nn.modules.head import Detect
from ultralytics.utils import callbacks, plotting
from ultralytics.utils.loss import E2ELoss, v8DetectionLoss

import moat_det.engine
from moat_det.engine.device import use_all_cores


@pytest.mark.parametrize(
    "name",
    [
        "check_resume",
        "setup_model",
        "save_model",
        "save_metrics",
        "resume_training",
        "final_eval",
        "get_dataset",
        "build_dataset",
        "get_dataloader",
        "build_optimizer",
        "preprocess_batch",
        "_build_train_pipeline",
        "auto_batch",
        "get_validator",
        "_model_train",
        "_handle_nan_recovery",
        "_get_warmup_iterations",
        "_do_train",
        "optimizer_step",
    ],
)
def test_the_trainer_still_calls_what_we_override(name: str) -> None:
    source = inspect.getsource(trainer.BaseTrainer) + inspect.getsource(DetectionTrainer)
    assert hasattr(DetectionTrainer, name)
    assert f"self.{name}(" in source, "the engine no longer calls it: our override would do nothing"


@pytest.mark.parametrize(
    "use",
    [
        "self.metrics, self.fitness = self.validate()",
        "metrics = self.validator(self)",
        'fitness = metrics.pop("fitness"',
        'self.validator.metrics.keys + self.label_loss_items(prefix="val")',
        "self.validator.dataloader = self.test_loader",
    ],
)
def test_the_trainer_asks_no_more_of_a_validator_than_ours_gives(use: str) -> None:
    source = inspect.getsource(trainer.BaseTrainer)
    assert use in source
    # Beside them it is made, and named in a docstring; `final_eval` is ours.
    in_final_eval = inspect.getsource(trainer.BaseTrainer.final_eval).count("self.validator")
    assert source.count("self.validator") - in_final_eval == 6


def test_the_trainer_gives_the_model_what_its_losses_need() -> None:
    source = inspect.getsource(DetectionTrainer.set_model_attributes)
    for name in ("nc", "names", "args"):
        assert f"self.model.{name} = " in source


def test_the_engine_still_raises_max_det_to_the_objects_of_a_split() -> None:
    args = SimpleNamespace(max_det=300)
    labels = [{"cls": np.zeros((301, 1))}, {"cls": np.zeros((2, 1))}]
    DetectionValidator._check_max_det(args, {"val": SimpleNamespace(labels=labels)})
    assert args.max_det == 301


@pytest.mark.parametrize(
    "name",
    [
        "setup_source",
        "preprocess",
        "pre_transform",
        "postprocess",
        "write_results",
        "run_callbacks",
        "setup_model",
    ],
)
def test_the_predictor_still_calls_what_we_override(name: str) -> None:
    assert f"self.{name}(" in inspect.getsource(predictor.BasePredictor)


def test_cameras_are_still_read_by_what_we_override() -> None:
    source = inspect.getsource(loaders.LoadStreams)
    assert "Thread(target=self.update, args=([i, self.caps[i], s])" in source
    assert "self.imgs[i].append(im)" in inspect.getsource(loaders.LoadStreams.__init__)


def test_an_epoch_starts_with_model_train_before_its_loader() -> None:
    loop = inspect.getsource(trainer.BaseTrainer._do_train)
    assert loop.index("self._model_train()") < loop.index("enumerate(self.train_loader)"), "seeds would come too late"


def test_a_process_that_trains_alone_is_one_of_several() -> None:
    loop, setup = (
        inspect.getsource(each) for each in (trainer.BaseTrainer._do_train, trainer.BaseTrainer._setup_train)
    )
    assert "if self.world_size > 1:\n            self._setup_ddp()" in loop
    assert "self.loss *= self.world_size" in loop
    assert "if self.world_size > 1:" in setup
    assert "if RANK in {-1, 0}:" in loop
    assert "self.save_model()" in loop.partition("NaN recovery")[2].partition("if RANK in {-1, 0}:")[2]
    assert loop.index('self.run_callbacks("on_train_epoch_end")') < loop.index("self.stopper.possible_stop")
    assert setup.index("self._build_train_pipeline()") < setup.index("ModelEMA(self.model)")


def test_losses_still_divide_by_the_scores_that_the_assigner_gives() -> None:
    source = inspect.getsource(v8DetectionLoss.get_assigned_targets_and_loss)
    assert "_, target_bboxes, target_scores, fg_mask, target_gt_idx = self.assigner(" in source
    assert "target_scores_sum = target_scores.sum().clamp_(min=1)" in source
    assert "return loss * batch_size, loss_detach" in inspect.getsource(v8DetectionLoss.loss)
    assert "return self.loss(" in inspect.getsource(v8DetectionLoss.__call__)
    both = inspect.getsource(E2ELoss.__call__)
    assert "self.one2many.loss(" in both
    assert "self.one2one.loss(" in both


def test_a_loss_with_two_weights_follows_its_count_of_epochs() -> None:
    update = inspect.getsource(E2ELoss.update)
    assert "self.updates += 1\n        self.o2m = self.decay(self.updates)" in update
    assert "unwrap_model(self.model).criterion.update()" in inspect.getsource(trainer.BaseTrainer._do_train)


def test_full_memory_can_be_kept_from_the_engine() -> None:
    loop = inspect.getsource(trainer.BaseTrainer._do_train)
    assert loop.index("self._oom_retries = 0") < loop.index("self._model_train()")
    assert "or self._oom_retries >= 3 or RANK != -1:\n                        raise" in loop


def test_the_engine_finds_no_callback_to_attach() -> None:
    class SomeTrainer:
        callbacks: dict[str, list[object]]

    instance = SomeTrainer()
    instance.callbacks = {}
    callbacks.add_integration_callbacks(instance)
    assert instance.callbacks == {}
    for module in (trainer, validator, predictor):
        assert "callbacks.add_integration_callbacks(" in inspect.getsource(module), "it is attached in another way now"


def test_drawing_asks_for_a_font_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connects"))
    assert str(plotting.check_font("Arial.ttf")).endswith(".ttf")


def test_importing_everything_touches_no_network() -> None:
    program = (
        "import os, socket\n"
        "def refuse(*a, **k): print('network', a, flush=True); os._exit(3)\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse; socket.create_connection = refuse\n"
        "from moat_det.cli.command import COMMANDS, load_command\n"
        "for name in COMMANDS: load_command(name)\n"
        "import ultralytics.utils, torch\n"
        "assert not ultralytics.utils.ONLINE\n"
        "assert os.environ['YOLO_AUTOINSTALL'] == 'false'\n"
        "assert torch.get_num_threads() == len(os.sched_getaffinity(0)), torch.get_num_threads()\n"
        "print('quiet')\n"
    )
    switches = {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "YOLO_OFFLINE", "YOLO_AUTOINSTALL"}
    untouched = {name: value for name, value in os.environ.items() if name not in switches}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=untouched)
    assert done.stdout.strip().endswith("quiet"), done.stdout + done.stderr


def test_select_device_takes_threads_away_and_we_give_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(1)
    use_all_cores()
    try:
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)


def test_the_head_still_has_the_parts_we_use() -> None:
    assert list(inspect.signature(Detect.forward_head).parameters) == ["self", "x", "box_head", "cls_head"]
    head = Detect(nc=2, ch=(8, 16))
    assert head.cv2[0][-1].out_channels == 4 * head.reg_max
    assert head.cv3[0][-1].out_channels == 2


def test_the_arguments_we_set_exist() -> None:
    from moat_det.engine.arguments import training_defaults

    assert set(training_defaults()) <= set(DEFAULT_CFG_DICT)
    assert moat_det.engine.MOAT.__name__ == "MOAT"


def test_torch_still_says_what_the_cpu_can_do() -> None:
    assert isinstance(torch.cpu._is_amx_tile_supported(), bool)
    assert isinstance(torch.cpu._is_avx512_bf16_supported(), bool)
