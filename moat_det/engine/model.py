"""`MOAT`, the facade: the habits of `ultralytics.YOLO` on our model, trainer, validator and predictor."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from inspect import GEN_CLOSED, getgeneratorstate
from pathlib import Path
from threading import RLock
from typing import Any
from weakref import ReferenceType, ref

from ultralytics.engine.model import Model
from ultralytics.engine.results import Results
from ultralytics.utils import DEFAULT_CFG

from moat_det.backbones.windows import read_window
from moat_det.data.augment import load_preset
from moat_det.data.config import check_split, load_dataset
from moat_det.data.loader.loader import killed_workers_explained
from moat_det.data.sizes.imgsz import take_training_shape
from moat_det.data.sizes.shape import NATIVE
from moat_det.demo import dataset_source
from moat_det.detection.classes import check_classes
from moat_det.detection.thresholds import Thresholds
from moat_det.detector.build import build_model, find_config, with_drop_path, with_window
from moat_det.detector.detector import Detector
from moat_det.engine.arguments import check_overrides, check_training, check_training_batch, settle, training_defaults
from moat_det.engine.checkpoint import Checkpoint, load_checkpoint
from moat_det.engine.device import choose_device, is_mixed
from moat_det.engine.distributed.group import join, lost_ranks_explained
from moat_det.engine.exporting import export_checkpoint
from moat_det.engine.inference_options import DetectionOptions, InferenceOptions, ValidationOptions
from moat_det.engine.operating_points import take_operating_point
from moat_det.engine.predictor import Predictor, runs_callback_of
from moat_det.engine.quiet import will_draw
from moat_det.engine.recovery.signals import STOPPED
from moat_det.engine.run_checkpoints import RESUMABLE_OPTIONS, lasting_source
from moat_det.engine.tracking.options import IOU, Tracking, TrackingOptions
from moat_det.engine.tracking.trackers import check_installed
from moat_det.engine.tracking.tracks import Tracks
from moat_det.engine.train_options import TrainOptions
from moat_det.engine.trained import Trained
from moat_det.engine.trainer import Trainer
from moat_det.engine.validator import Validator
from moat_det.errors import UserError
from moat_det.evaluation import CocoMetrics
from moat_det.evaluation.inspection.verdicts import PartVerdict
from moat_det.export import Exported, ExportOptions
from moat_det.files import naming
from moat_det.messages import suggest
from moat_det.options import options_of
from moat_det.paths import PROJECT, expand_home
from moat_det.strict_yaml import read_yaml

logger = logging.getLogger(__name__)

DEFAULT_BACKBONE = "tiny_moat2"


class MOAT(Model):
    """A detector: to train, validate and predict with.

    Attributes:
        trained: What the model was trained on.

    Args:
        model: A backbone's name ("tiny_moat2"), a model YAML, or a checkpoint (`best.pt`).

    Raises:
        UserError: There is no such backbone or file, or it is none of ours.

    Examples:
        >>> model = MOAT("tiny_moat2")
        >>> model.train(data="defects.yaml", epochs=100, imgsz=640)
        >>> results = model("board.png")
    """

    def __init__(self, model: str | Path = DEFAULT_BACKBONE) -> None:
        self._config: dict[str, Any] = {}
        self.trained = Trained()
        self._inference = DetectionOptions()  # those of the predictor that is made next
        self._predicting = RLock()
        self._stream: ReferenceType[Any] | None = None  # the iterator that has the predictor
        super().__init__(str(expand_home(model)), task="detect")

    @property
    def task_map(self) -> dict[str, dict[str, Any]]:
        """The engine's table of what does what; it makes the predictor itself, from arguments that are its own."""
        predictor = partial(Predictor, options=self._inference, trained=self.trained)
        return {"detect": {"model": Detector, "trainer": Trainer, "validator": Validator, "predictor": predictor}}

    def _new(self, cfg: str, task: str | None = None, verbose: bool = False) -> None:
        self._config = find_config(cfg)
        self.cfg = cfg
        self.model = build_model(self._config, nc=80, source=cfg)
        self.trained = Trained()
        self.task, self.model_name = "detect", cfg
        self.overrides = {"model": cfg, "task": "detect"}

    def _load(self, weights: str, task: str | None = None) -> None:
        if Path(weights).suffix != ".pt":
            self._new(weights)
            return
        checkpoint = load_checkpoint(weights)
        self._config = checkpoint.config
        self.model = checkpoint.build()
        self.trained = checkpoint.trained
        self.task, self.ckpt_path, self.model_name = "detect", weights, weights
        # A model is used in the number format that it was trained in.
        kept = {**self._reset_ckpt_args(checkpoint.args), "amp": checkpoint.args["amp"]}
        self.overrides = {**kept, "model": weights, "task": "detect"}

    def train(self, **kwargs: Any) -> CocoMetrics:
        """Train on a dataset, from the loaded weights if there are any.

        Args:
            **kwargs: `data`, and any training argument of the engine; `weights` ("imagenet", or a file), to start from;
                `freeze_backbone`, the epochs at the start that hold the backbone still; `layer_decay`, a factor on the
                learning rate for each layer of the backbone, from neck to stem; `drop_path` and `window`, the rate of
                dropped branches and the attention windows, instead of the configuration's; `augmentation`, a preset
                ("surface") or a YAML, which stands between the arguments given here and the defaults. `imgsz` is one
                number, for squares, or height and width, or "auto", the median shape of the data.

        Returns:
            The figures of the best epoch's model, which is the model from then on.

        Raises:
            UserError: An argument, the dataset or the checkpoint is not in order.
        """
        self.trainer = self.make_trainer(**kwargs)
        try:
            with killed_workers_explained(), naming(self.trainer.save_dir), lost_ranks_explained(self.trainer.group):
                self.trainer.train()
        except (UserError, *STOPPED):
            self.trainer.discard_if_unused()
            raise
        best = self.trainer.best if self.trainer.best.exists() else self.trainer.last
        self._load(str(best))
        self.predictor = None
        self.metrics = self.trainer.validator.coco
        return self.metrics

    def make_trainer(self, **kwargs: Any) -> Trainer:
        """Give the trainer of a training that has not begun; its run's folder is there. Takes what `train` takes.

        Raises:
            UserError: An argument, the dataset or the checkpoint is not in order.
        """
        kwargs = _with_settings(kwargs, TrainOptions)
        check_training_batch(kwargs.get("batch"))
        check_training(kwargs)
        own = {name: value for name in options_of(TrainOptions) if (value := kwargs.pop(name, None)) is not None}
        if kwargs.get("imgsz") == NATIVE:
            raise UserError("--imgsz native: training takes images of one size; native is for validation and detection")
        resume = kwargs.get("resume")
        if resume is True and self.ckpt_path:
            kwargs["resume"] = self.ckpt_path
        if not resume and not kwargs.get("data"):
            raise UserError("training needs data, a dataset YAML; 'demo' is a set that the project draws itself")
        defaults = {} if resume or self.model.engine_recipe else training_defaults()
        if "augmentation" in own and not resume:
            preset = load_preset(own["augmentation"])
            defaults, own["augmentation"] = {**defaults, **preset.engine}, preset.to_dict()
        overrides = {**defaults, **kwargs}
        if not resume:
            overrides.update(model=self.model_name, pretrained=False)
        if kwargs.get("project") or not isinstance(kwargs.get("resume"), (str, Path)):
            overrides.update(self._place(kwargs))
        overrides.update(task="detect", mode="train")
        group = join(overrides.get("device"))
        choose_device(group.device)
        if group.device is not None:  # a resumed run has one of its own
            overrides["device"] = group.device
        if not resume:
            # A mistake in it shall not leave a run's folder behind.
            data = load_dataset(dataset_source(overrides["data"]))
            overrides["data"] = lasting_source(overrides["data"], data)
            check_split(data, overrides.get("split", DEFAULT_CFG.split), data["yaml_file"])
            check_classes(overrides.get("classes"), data["names"])
            own["shape"] = take_training_shape(overrides, data, stride=max(int(self.model.stride.max()), 32))
            amp = overrides.get("amp", DEFAULT_CFG.amp)
            own |= {"mixed": is_mixed(amp), "choose_format": amp is True}
        changed = {name: own.pop(name) for name in RESUMABLE_OPTIONS & own.keys()} if resume else {}
        options = None if resume else self._train_options(own, nbs_given="nbs" in kwargs)
        if resume and own:
            logger.warning(f"a resumed run keeps its own {', '.join(own)}; start a new run to change them")
        with naming(overrides.get("project") or overrides["resume"]), lost_ranks_explained(group):
            return Trainer(
                overrides=overrides, options=options, changed=changed, group=group, _callbacks=self.callbacks
            )

    def val(self, **kwargs: Any) -> CocoMetrics:
        """Measure the model on a split of a dataset.

        Args:
            **kwargs: `data`, and any validation argument of the engine; `imgsz`, the longer side, or height and width,
                or "native", by default that of the training; the others of `ValidationOptions`.

        Returns:
            The COCO figures; they and the detections are also in the run's folder.

        Raises:
            UserError: An argument, the dataset or the JSON is not in order.
        """
        kwargs = _with_settings(kwargs, ValidationOptions)
        check_classes(kwargs.get("classes"), self.model.names)
        args = {"rect": True, **self.overrides, **kwargs, **self._place(kwargs), "mode": "val"}
        options = ValidationOptions.take(args)
        if not args.get("data"):
            raise UserError("validation needs data, a dataset YAML")
        if options.per_class and args.get("single_cls"):
            raise UserError("--per-class: with --single-cls all classes are one; leave one of the two out")
        will_draw(self.model.names.values())
        group = join(args.get("device"))
        args["device"] = group.device
        with lost_ranks_explained(group):
            validator = Validator(args, callbacks=self.callbacks, options=options, trained=self.trained, group=group)
            validator(model=self.model)
        self.metrics = validator.coco
        return self.metrics

    def predict(
        self, source: Any = None, stream: bool = False, predictor: Any = None, **kwargs: Any
    ) -> list[Results] | Iterator[Results]:
        """Detect in a source. Threads may share a model: their calls take turns, and each stream has its own predictor.

        Args:
            source: Image, folder, glob, list file, video, camera number, array or tensor; or a list, tuple or generator
                of paths, arrays and pictures, which are read a batch at a time.
            stream: Give an iterator, which holds one result at a time, instead of a list.
            predictor: A predictor class instead of ours.
            **kwargs: Any prediction argument of the engine; `imgsz`, as `val` takes it, and the others of
                `DetectionOptions`; `conf`, the least score, or {"scratch": 0.6}, that of some classes by their names,
                or a list of both. With `operating_point`, each result has a `part` and a `verdict`: "pass", "review" or
                "reject", of a stream as far as the part's images were seen.

        Raises:
            UserError: An argument or the source is not in order, or an image needs more memory than there is.
        """
        return self._detect(source, stream, predictor, _with_settings(kwargs, DetectionOptions))

    def track(self, source: Any = None, stream: bool = False, **kwargs: Any) -> list[Results] | Iterator[Results]:
        """Follow defects over the frames of a source: each detection has the number of its defect, `boxes.id`.

        Args:
            source: Video, camera, or a folder, glob or list file of frames, which come in the order of the numbers in
                their names; or a list or generator of frames, in its order. Each video, camera and folder is followed
                by itself.
            stream: Give an iterator, which holds one result at a time, instead of a list.
            **kwargs: Those of `predict`, without `operating_point` and `shard`; those of `TrackingOptions`. `conf` is
                the least score that begins a track.

        Raises:
            UserError: An argument or the source is not in order, or a frame needs more memory than there is.
        """
        kwargs = _with_settings(kwargs, InferenceOptions, TrackingOptions)
        tracking = Tracking.take(kwargs)
        check_installed()
        return self._detect(source, stream, None, {"iou": IOU, **kwargs, "mode": "track"}, tracking)

    @property
    def tracks(self) -> Tracks | None:
        """The defects of the last tracking, as far as its frames were seen."""
        return getattr(self.predictor, "tracks", None)

    def _detect(
        self, source: Any, stream: bool, predictor: Any, kwargs: dict[str, Any], tracking: Tracking | None = None
    ) -> list[Results] | Iterator[Results]:
        check_classes(kwargs.get("classes"), self.model.names)
        point = None
        if kwargs.get("operating_point") is not None:
            point, kwargs = take_operating_point(
                kwargs, self.model, self.trained, self.overrides.get("amp", DEFAULT_CFG.amp)
            )
        kwargs = {"imgsz": self.overrides.get("imgsz", DEFAULT_CFG.imgsz), **kwargs}  # that of the training
        options = replace(DetectionOptions.take(kwargs), point=point)
        thresholds = Thresholds.read(kwargs.pop("conf", None))
        if tracking is not None:
            tracking = replace(tracking, conf=thresholds.of_classes(self.model.names))
            options = replace(options, tracking=tracking)
        elif thresholds.single is None:
            options = replace(options, class_conf=thresholds.of_classes(self.model.names))
        least = options.class_conf or thresholds.common
        kwargs["conf"] = min(least) if tracking is None else tracking.least_score
        if source is None:
            raise UserError("prediction needs a source: an image, folder, glob, list file, video or camera")
        if runs_callback_of(self.callbacks):
            raise UserError(
                "predict was called by a callback of the same model's predict, which would call it again: "
                "use a second MOAT there"
            )
        source = expand_home(source)
        with self._predicting:
            stream_before = None if self._stream is None else self._stream()
            unread = stream_before is not None and getgeneratorstate(stream_before) != GEN_CLOSED
            # The engine makes a new predictor for another device, and keeps it for another number format.
            amp = args.amp if (args := getattr(self.predictor, "args", None)) else None
            if options != self._inference or unread or amp != kwargs.get("amp", DEFAULT_CFG.amp):
                self._inference, self.predictor = options, None
            try:
                results = super().predict(source, stream, predictor, **{**kwargs, **self._place(kwargs)})
            except BaseException:
                if not getattr(self.predictor, "ready", True):  # the engine would take it for one that is set up
                    self.predictor = None
                raise
            self._stream = ref(results) if stream else None
            if point is not None and not stream:
                self._settle_verdicts(results)
            return results

    @property
    def verdicts(self) -> list[PartVerdict]:
        """The verdict on each part of the last prediction with an operating point, as far as its images were seen."""
        seen = getattr(self.predictor, "verdicts", None)  # a predictor of the user's may have none
        return [] if seen is None else seen.parts()

    def _settle_verdicts(self, results: list[Results]) -> None:
        """Say of each image what becomes of its part, of which the last image may have decided."""
        verdicts = {found.part: found.verdict for found in self.verdicts}
        for result in results:
            result.verdict = verdicts[result.part]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of copies and pickles what belongs to calls that run."""
        own = {"_predicting", "_stream"}
        return {**{name: value for name, value in self.__dict__.items() if name not in own}, "predictor": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take turns anew."""
        super().__setstate__(state)
        self._predicting, self._stream = RLock(), None

    def save(self, filename: str | Path = "saved_model.pt") -> None:
        """Write the model as a checkpoint to predict with, or to start from, atomically.

        Raises:
            OSError: The file cannot be written.
            UserError: The model was folded (`fuse`): its weights fit no model that can be built from the file.
        """
        if self.model.is_fused():
            raise UserError(f"{filename}: a folded model cannot be saved; save before fuse(), or load the weights anew")
        names, args = dict(self.model.names), {"amp": True, **self.overrides}
        Checkpoint(
            self._config,
            names,
            self.model.state_dict(),
            args,
            metrics={},
            channels=self.model.yaml["channels"],
            intensity=self.trained.intensity.to_dict(),
            chosen_on=self.trained.chosen_on,
        ).save(expand_home(filename))

    def load(self, weights: str | Path = "best.pt") -> MOAT:
        """Take over the tensors of a checkpoint that fit this model; raises `UserError` if it is none of ours."""
        checkpoint = load_checkpoint(expand_home(weights))
        self.model.load(checkpoint.build())
        self.trained = checkpoint.trained
        self.predictor = None  # it has a copy of the weights from before
        return self

    def export(self, **kwargs: Any) -> Exported:
        """Write the model as a file for other runtimes, compared with it on real images.

        Args:
            **kwargs: Those of `ExportOptions`.

        Raises:
            UserError: An argument is not in order, the model was not loaded from a checkpoint, or the file does not
                agree with it; then nothing is kept.
        """
        unknown = [name for name in kwargs if name not in options_of(ExportOptions)]
        if unknown:
            raise UserError(f"export: unknown argument {unknown[0]}{suggest(unknown[0], options_of(ExportOptions))}")
        if not self.ckpt_path:
            raise UserError("export: the model was not loaded from a checkpoint: save it first, or give a best.pt")
        return export_checkpoint(self.model, self.trained, Path(self.ckpt_path), ExportOptions(**kwargs))

    def _unsupported(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse what else the engine's facade does, which would fail in ways of its own.

        Raises:
            UserError: Always.
        """
        raise UserError("this is not supported yet: MOAT trains, validates, predicts, tracks and exports")

    embed = benchmark = tune = calibrate = _unsupported

    def _train_options(self, given: dict[str, Any], nbs_given: bool) -> TrainOptions:
        weights = given.get("weights") or self.ckpt_path
        follows = not self.model.engine_recipe and not nbs_given
        config = self._config
        if "window" in given:
            given["window"] = read_window(given["window"])
            config = with_window(config, given["window"])
        if "drop_path" in given:
            config = with_drop_path(config, given["drop_path"])
        options = TrainOptions(config, nbs_follows_batch=follows, **{**given, "weights": weights and str(weights)})
        if options.weights_by_order and options.weights is None:
            raise UserError("--weights-by-order: there are no --weights to take by their order; give a file of them")
        if self.model.backbone is None and (options.freeze_backbone or options.layer_decay != 1):
            option = "--freeze-backbone" if options.freeze_backbone else "--layer-decay"
            raise UserError(f"{option} is for models on a MOAT backbone: leave it out with a model of the engine's")
        return options

    @staticmethod
    def _place(kwargs: dict[str, Any]) -> dict[str, Any]:
        """Say where the run's folder goes: below the current folder, not below the engine's settings."""
        return {"project": str(Path(kwargs.get("project") or PROJECT).absolute())}


def _with_settings(kwargs: dict[str, Any], *kinds: type) -> dict[str, Any]:
    """Check the arguments, and put those of the YAML that `cfg` names under them.

    Raises:
        UserError: A name is unknown, a value out of its range, or the YAML cannot be read.
    """
    own = options_of(*kinds)
    check_overrides(kwargs, own)
    given = {name: value for name, value in kwargs.items() if name != "cfg"}
    file = expand_home(kwargs.get("cfg"))
    if file is None:
        return settle(given)
    try:
        settings = read_yaml(Path(file))
    except UserError as error:
        raise UserError(f"--cfg {error}") from None
    if not isinstance(settings, dict):
        raise UserError(f"--cfg {file}: must hold a mapping of arguments, such as 'epochs: 50'")
    check_overrides(settings, own)
    return settle({**settings, **given})
