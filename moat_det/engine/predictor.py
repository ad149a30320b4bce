"""Prediction: the engine's sources, pictures and `Results`, with our suppression and atomic files."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from ultralytics.cfg import DEFAULT_CFG
from ultralytics.models.yolo.detect import DetectionPredictor
from ultralytics.utils.ops import convert_torch2numpy_batch

from moat_det.anomaly.bank import FILE
from moat_det.anomaly.files import write_map
from moat_det.anomaly.pictures import caption, draw_heatmap
from moat_det.data.images.depth import intensity_of_run
from moat_det.data.images.find import count_suffixes
from moat_det.data.images.header import large_images
from moat_det.data.images.intensity import Intensity
from moat_det.data.images.shown import as_picture
from moat_det.data.sizes.letterbox import Placement
from moat_det.data.sizes.policy import FixedSize
from moat_det.data.sizes.shape import round_up
from moat_det.detection.anomalies import UNLIKE
from moat_det.detection.label_files import write_labels
from moat_det.detection.notices import tell_cut, tell_scaled
from moat_det.detection.output_names import OutputNames
from moat_det.detection.pictures import draw_detections, write_picture
from moat_det.detection.shards import Shard, ShardRecord
from moat_det.detector.nms import non_max_suppression, read_output
from moat_det.engine.boxes import in_file
from moat_det.engine.checkpoint import weights_digest
from moat_det.engine.device import check_compiler, choose_device, is_mixed, use_all_cores
from moat_det.engine.heatmaps import Heatmap, Heatmaps
from moat_det.engine.inference_options import DetectionOptions
from moat_det.engine.memory_check import MemoryCheck
from moat_det.engine.quiet import will_draw
from moat_det.engine.result_files import CropFiles, VideoFiles
from moat_det.engine.results import Results
from moat_det.engine.seen_files import SeenFiles
from moat_det.engine.sources.cameras import Cameras
from moat_det.engine.sources.files import ImageFiles
from moat_det.engine.sources.fitting import FittingBatches
from moat_det.engine.sources.open import open_source
from moat_det.engine.sources.shape_batches import ShapeBatches
from moat_det.engine.tracking.steps import Steps
from moat_det.engine.tracking.tracks import Tracks
from moat_det.engine.trained import Trained
from moat_det.engine.window_chooser import WindowChooser
from moat_det.errors import UserError
from moat_det.evaluation.inspection.verdicts import Verdicts
from moat_det.messages import as_given, one_line
from moat_det.run_folder import check_apart, claim_run, tell_former, tell_results

logger = logging.getLogger(__name__)

# Arguments with which the engine writes into the run's folder.
_WRITE = ("save", "save_txt", "save_crop", "visualize")

_CROPS, _HEATMAPS, _MAPS = "crops", "heatmaps", "maps"  # folders of pictures below that of the run

# What all images of a shard have in common, of the engine's arguments.
_OF_A_SHARD = (
    *("imgsz", "conf", "iou", "max_det", "classes", "agnostic_nms", "augment", "rect", "quantize", "amp"),
    *("save", "save_txt", "save_conf", "save_crop"),
)

_running = threading.local()  # `tables`: those that callbacks are taken from just now, in this thread


class NothingLeftError(Exception):
    """All images of a shard are done."""


def runs_callback_of(callbacks: Mapping[str, Any]) -> bool:
    """Whether this thread is in a callback that a predictor took from this table."""
    return any(table is callbacks for table in getattr(_running, "tables", ()))


class Predictor(DetectionPredictor):
    """Detects in images, videos and streams.

    Attributes:
        unreadable: The files of the last run that could not be read, or not whole.
        names: What the outputs of the last run are called.
        verdicts: On the parts of the last run; None without an operating point.
        tracks: The defects of the last run; None where they are not followed.
        heatmaps: What makes the heat maps; None where there are none.
        awaited: Whether who asks for the results writes them into the run's folder, which is then made before hours of
            detecting and not after.
        ready: Whether the model is set up. One that was refused amid it is of no use any more.

    Args:
        cfg: The engine's defaults.
        overrides: The engine's arguments.
        _callbacks: The user's callbacks, by event.
        options: Our own.
        trained: What the model was trained on.
    """

    args: Any
    dataset: Any
    unreadable: list[Path]
    names: OutputNames
    verdicts: Verdicts | None = None
    tracks: Tracks | None = None
    heatmaps: Heatmaps | None = None
    awaited: bool = False
    ready: bool = False

    def __init__(
        self,
        cfg: Any = DEFAULT_CFG,
        overrides: dict[str, Any] | None = None,
        _callbacks: dict[str, list[Callable[..., None]]] | None = None,
        options: DetectionOptions | None = None,
        trained: Trained | None = None,
    ) -> None:
        super().__init__(cfg, overrides, _callbacks)
        self.options = options or DetectionOptions()
        self._shard = None if self.options.shard is None else Shard.read(self.options.shard)
        self._record: ShardRecord | None = None
        self._trained = trained or Trained()
        self._claimed = False

    def setup_model(self, model: Any, verbose: bool = False) -> None:
        """Move the model to `args.device`, folded and in that device's number format."""
        device = choose_device(self.args.device)
        check_compiler(device, self.args.compile)
        self._weights = weights_digest(model) if self._shard is not None or self.options.heatmap else ""
        model.prepare(device, mixed=is_mixed(self.args.amp, self.args.quantize))
        super().setup_model(model, verbose)
        use_all_cores()
        will_draw(self.model.names.values())
        detector, options = self.model.model, self.options
        self._windows = WindowChooser(detector, self._trained.size, options.window, options.position)
        if self.options.heatmap:
            self._check_one_pass()
            self.heatmaps = Heatmaps(detector, self.options)
        self._memory = MemoryCheck(
            detector, self._windows, 0 if self.heatmaps is None else self.heatmaps.bytes_per_pixel
        )
        self.ready = True

    def setup_source(self, source: Any, stride: int | None = None) -> None:
        """Open the source.

        Raises:
            UserError: It does not exist, holds nothing to detect in, or cannot be opened; or an option is at odds.
        """
        if self.args.save_frames and not self.args.save:
            raise UserError("--save-frames: goes with the videos that are written; give --save true")
        self._claimed = False  # a run has a folder of its own, also where a predictor has had one before
        largest_stride = int(self.model.stride)
        if self.options.shape is not None:
            self.args.imgsz = list(round_up(self.options.shape, largest_stride))
        intensity = self._open(source, stride)
        root, files = getattr(self.dataset, "root", None), getattr(self.dataset, "files", ())
        self.unreadable = []
        # Of a shard, which leaves videos out, those that are done are named first.
        self.names = OutputNames(root, files if self._shard is None else ())
        self._check_folders()
        if self._shard is not None:
            self._take_shard(self._shard, source)
            files = self.dataset.files
        # Cameras that are read together are one batch: where they have several shapes, each is padded to the square.
        cameras = {tuple(shape[:2]) for shape in self.dataset.shape} if self.source_type.stream else set()
        rect = self.args.rect and len(cameras) < 2
        self._sizes = self.options.sizes(max(self.imgsz), largest_stride, rect)
        moving = self.source_type.stream or self.source_type.screenshot or any(getattr(self.dataset, "video_flag", []))
        if moving and self.model.channels not in {1, 3}:
            raise UserError(
                f"--source {as_given(source)}: videos and cameras have no {self.model.channels} bands; give images"
            )
        self._places: Sequence[Placement] = []  # of the images of the batch
        self._scaled_files: set[str] = set()
        if self.heatmaps is not None:
            self._prepare_heatmaps(self.heatmaps, source, intensity, moving)
        tell_results(self.args.project, root, files)
        if self.awaited or any(getattr(self.args, name) for name in _WRITE):
            good_parts = () if self.heatmaps is None else self.heatmaps.good_parts
            check_apart(self.claim_folder(), [*files, *good_parts])
            self._keep_bank()
        self._stride = self.args.vid_stride if isinstance(self.dataset, (Cameras, ImageFiles)) else 1
        self._cut_files: set[str] = set()
        self._crops = CropFiles(self.save_dir / _CROPS)
        self._counts: dict[str, int] = {}
        self.verdicts = None if self.options.point is None else Verdicts(self.options.point)
        if self.verdicts is not None:  # before hours of detecting, not after
            self.verdicts.expect(map(self.names.relative, getattr(self.dataset, "expected", files)))
        self._seen = SeenFiles(self.dataset, self.names, self.verdicts)
        self._ending.callback(self._seen.take_unseen)
        if self.options.tracking is not None:
            self.tracks = Tracks(self.options.tracking, self._stride)
            self._steps = Steps(self.tracks, self.names)
        if not self.source_type.tensor:
            self._batch()

    def _open(self, source: Any, stride: int | None) -> Intensity:
        """Let the engine open a source by our loaders; gives how its samples of more than 8 bits become 8."""
        try:
            with large_images():
                intensity = intensity_of_run(self._trained.intensity)
                opened = open_source(
                    source,
                    intensity,
                    self.model.channels,
                    self.args.batch,
                    self.args.vid_stride,
                    frames=self.options.tracking is not None,
                    buffer=self.args.stream_buffer,
                )
                super().setup_source(opened, stride)
        except (FileNotFoundError, ConnectionError, TypeError, ValueError) as error:
            reason = one_line(error) or type(error).__name__
            raise UserError(
                f"--source {as_given(source)}: {reason}; give an image, folder, glob, list file, video or camera"
            ) from None
        return intensity

    def _batch(self) -> None:
        """Let images come in batches of one shape that fit into the memory."""
        # Files whose batches need no cutting stay with the engine's loader, which on a GPU reads ahead; but at their
        # own size one of them may be too large.
        uncut = self.args.batch == 1 or isinstance(self._sizes, FixedSize)
        if not (isinstance(self.dataset, ImageFiles) and uncut):
            self.dataset = ShapeBatches(self.dataset, self.args.batch, self._sizes)
        if self.options.native:
            self.dataset = FittingBatches(self.dataset, self._check_batch)

    def stream_inference(self, *args: Any, **kwargs: Any) -> Iterator[Results]:
        """Give the results one by one; videos end with them, also where nobody asks for the rest."""
        self._videos, self._record = VideoFiles(), None
        with ExitStack() as self._ending:  # what fails keeps nothing else from its end
            self._ending.callback(self._videos.close)
            try:
                for result in super().stream_inference(*args, **kwargs):
                    if self._record is not None:
                        self._record.add(result.detections(), result.path, self.names)
                    yield result
            except NothingLeftError:
                return

    def _check_folders(self) -> None:
        """Raise `UserError` where pictures of the source would be called as crops or heat maps of others."""
        taken = {_CROPS: "crops"} if self.args.save_crop else {}
        if self.heatmaps is not None:
            taken |= dict.fromkeys((_HEATMAPS, _MAPS), "heat maps")
        for file in getattr(self.dataset, "files", ()) if taken else ():
            if what := taken.get(self.names.relative(file).split("/")[0].casefold()):
                raise UserError(
                    f"{file}: lies in a folder that is called as that of the {what}, which would take the place of its "
                    "results; give another --source"
                )

    def _check_one_pass(self) -> None:
        """Raise `UserError` for what makes of a pass several, or another one that has no inside, or writes nothing."""
        for name in ("augment", "compile"):
            if getattr(self.args, name):
                raise UserError(f"--heatmap: does not go with --{name}; leave one of the two out")
        if self.options.save_maps and not self.args.save:
            raise UserError(f"--save-maps {self.options.save_maps}: goes with the pictures; leave --save false out")

    def _prepare_heatmaps(self, heatmaps: Heatmaps, source: Any, intensity: Intensity, moving: bool) -> None:
        """Leave videos out, and have a bank of good parts, looked at as the source's images are.

        Raises:
            UserError: Nothing but videos, or what `Heatmaps.prepare` raises.
        """
        if moving and isinstance(self.dataset, ImageFiles) and self.dataset.ni:
            videos = count_suffixes(self.dataset.files[self.dataset.ni :])
            logger.warning(f"{as_given(source)}: left out with --heatmap, since they are videos: {videos}")
            self.dataset.keep(self.dataset.files[: self.dataset.ni])
        elif moving:
            raise UserError(f"--source {as_given(source)}: --heatmap is for images, and not for videos and cameras")
        self._ending.enter_context(heatmaps.listening())
        settings = {
            "weights": self._weights,
            "imgsz": str(self._sizes),
            "intensity": self._trained.intensity.settled.to_dict(),
            "window": None if self.options.window is None else str(self.options.window),
            "position": self.options.position,
            "precision": str(self.model.model.dtype).removeprefix("torch."),
        }
        heatmaps.prepare(settings, self._look, intensity, self.model.channels)
        if isinstance(self.dataset, ImageFiles):
            heatmaps.tell_common(self.dataset.files)

    def _look(self, file: str, image: np.ndarray) -> Placement:
        """Take one image through the model, as those of the source."""
        self.batch = [file], [image], [""]
        self.model(self.preprocess([image]))
        return self._places[0]

    def _keep_bank(self) -> None:
        """Write the bank of good parts where it was made in this run."""
        if self.heatmaps is None or self.heatmaps.bank is None or not self.heatmaps.made:
            return
        path = self.save_dir / FILE
        self.heatmaps.bank.save(path)
        logger.info(f"{path}: give it as --good-parts, and the good parts need not be looked at again")

    def _take_shard(self, shard: Shard, source: Any) -> None:
        """Leave of the source the images of the shard that are not done.

        Raises:
            NothingLeftError: All of them are.
            UserError: The source is no files, or the shard's folder is of another detection.
        """
        if not isinstance(self.dataset, ImageFiles):
            raise UserError(f"--shard {shard}: shares out files; give an image, a folder, a pattern or a list")
        if self.dataset.nf > self.dataset.ni:
            videos = count_suffixes(self.dataset.files[self.dataset.ni :])
            logger.warning(f"{as_given(source)}: left out with --shard, since they are videos: {videos}")
        settings = {"shard": str(shard), "source": os.path.abspath(source), "weights": self._weights}
        settings |= {name: getattr(self.args, name) for name in _OF_A_SHARD}
        settings |= {name: value for name, value in asdict(self.options).items() if name not in {"point", "shard"}}
        folder = self.claim_folder()
        check_apart(folder, self.dataset.files)
        self._record = ShardRecord(folder, settings)
        self._ending.callback(self._record.close)
        left = self._record.left(shard, self.dataset.files[: self.dataset.ni], self.names)
        if not left:
            raise NothingLeftError(f"shard {shard}: no image is left")
        self.dataset.keep(left)

    def claim_folder(self) -> Path:
        """Make the run's folder, once in a run; give it."""
        if not self._claimed:
            args = copy(self.args)
            if self._shard is not None:  # the same at every start
                args.name, args.exist_ok = self._shard.folder(args.name or args.mode), True
            self.save_dir, self._claimed = claim_run(args), True
            if self.args.exist_ok and self._shard is None:
                tell_former(self.save_dir)
        return self.save_dir

    def _check_batch(self, files: list[str], images: list[np.ndarray]) -> None:
        """Raise `DoesNotFit` where the pass over a batch would not fit into the memory."""
        height, width = self._sizes.padded(*images[0].shape[:2])
        self._check_memory((len(images), self.model.channels, height, width), torch.uint8, files[0])

    def _check_memory(self, shape: tuple[int, int, int, int], dtype: torch.dtype, file: str) -> None:
        self._windows.follow(*shape[2:])
        self._memory.check(shape, dtype, file, self._sizes)

    def preprocess(self, im: Any) -> Tensor:
        """Make a batch of images, and make sure that the pass over it fits into the memory.

        Args:
            im: Images (H, W, C), uint8, BGR where C is 3; or a tensor (B, C, H, W), RGB, in [0, 1].

        Returns:
            (B, C, H, W), RGB, on the device: uint8, or what the engine makes of it, floating in [0, 1].

        Raises:
            UserError: The pass would not fit.
        """
        if isinstance(im, Tensor):  # goes in as it is
            self._places = [Placement(1.0, 1.0)] * len(im)
        # The engine's heat maps want numbers in [0, 1]; so do models whose weights are float16.
        if isinstance(im, Tensor) or self.model.fp16 or self.args.visualize:
            batch = super().preprocess(im)
        else:
            images = [cv2.cvtColor(x, cv2.COLOR_BGR2RGB) if x.shape[2] == 3 else x for x in self.pre_transform(im)]
            stacked = images[0][None] if len(images) == 1 else np.stack(images)
            batch = torch.from_numpy(stacked).to(self.device).permute(0, 3, 1, 2)
        self._check_memory((len(batch), *batch.shape[1:]), batch.dtype, self.batch[0][0])
        return batch

    def pre_transform(self, im: list[np.ndarray]) -> list[np.ndarray]:
        """Scale and pad the images of a batch (H, W, C), all to the same shape, and keep where each lies in it."""
        for file, image in zip(self.batch[0], im, strict=True) if self.options.native else ():
            size, scaled = image.shape[:2], self._sizes.scaled(*image.shape[:2])
            if scaled != size and file not in self._scaled_files:
                self._scaled_files.add(file)
                tell_scaled(file, size, scaled)
        fitted, self._places = zip(*(self._sizes.fit(image) for image in im), strict=True)
        return list(fitted)

    def postprocess(self, preds: Any, img: Tensor, orig_imgs: Any, **kwargs: Any) -> list[Results]:
        """Suppress double detections and scale the rest to the original pixels."""
        predictions, level_sizes = read_output(preds)
        kept, found = non_max_suppression(
            predictions,
            self._least_scores(predictions),
            kwargs.pop("iou", self.args.iou),
            level_sizes=level_sizes,
            classes=self.args.classes,
            agnostic=self.args.agnostic_nms,
            max_det=self.args.max_det,
        )
        self._warn_of_cuts(found)
        self._seen.see(self.batch[0], of_video=self.dataset.mode == "video")
        if isinstance(orig_imgs, Tensor):
            orig_imgs = list(convert_torch2numpy_batch(orig_imgs)[..., ::-1])
        orig_imgs = [as_picture(image) for image in orig_imgs]
        return self.construct_results(kept, img, orig_imgs)

    def _least_scores(self, predictions: Tensor) -> float | Tensor:
        """Give the least score of a detection, or that of each class."""
        scores = self.options.class_conf
        return self.args.conf if scores is None else torch.tensor(scores, device=predictions.device)

    def construct_results(self, preds: list[Tensor], img: Tensor, orig_imgs: list[np.ndarray]) -> list[Results]:
        """Bring the boxes (N, 6) of each image into its own pixels."""
        images = zip(preds, self._places, orig_imgs, self.batch[0], strict=True)
        names = self.model.names
        results = [Results(x, path, names, boxes=in_file(found, place, x.shape)) for found, place, x, path in images]
        self._numbers = [self._number(path, text) for path, text in zip(self.batch[0], self.batch[2], strict=True)]
        for result, number in zip(results, self._numbers, strict=True):
            result.frame = number
        if self.heatmaps is not None:
            sizes = [(image.shape[0], image.shape[1]) for image in orig_imgs]
            for result, heatmap in zip(results, self.heatmaps.maps(list(self._places), sizes), strict=True):
                result.heatmap = heatmap
        for lost in self._seen.take_unseen():
            # Frames of files have numbers, and what is missing at the end of one may be known before the last are here.
            if self.tracks is not None and self.source_type.stream:
                self.tracks.lose(self.names.relative(lost))
        if self.verdicts is not None:
            for result in results:
                self._judge(self.verdicts, result)
        if self.tracks is not None:
            for result in results:
                self._follow(result)
        return results

    def _judge(self, verdicts: Verdicts, result: Results) -> None:
        """Say what becomes of the part that an image is of, as far as its images were seen."""
        classes = [result.names[int(label)] for label in result.boxes.cls]
        name, whole = self.names.relative(result.path), self.dataset.mode != "video"
        result.part = verdicts.add(name, result.boxes.conf.tolist(), classes, whole)
        if result.heatmap is not None and result.heatmap.anomaly.looks == UNLIKE:
            verdicts.hold(result.part)
        result.verdict = verdicts.of(result.part).verdict

    def _follow(self, result: Results) -> None:
        """Give the detections in a frame of a video, a camera, or the folder of an image their numbers."""
        if self.dataset.mode == "image":
            self._steps.of_folder(result, getattr(self.dataset, "files", ()))
        elif self.dataset.mode == "stream":
            self._steps.of_video(result)
        else:
            self._steps.of_video(result, result.frame)

    def _warn_of_cuts(self, found: list[int]) -> None:
        """Say which images have more detections than `max_det`; of a video, once."""
        for file, count in zip(self.batch[0], found, strict=False):
            if count > self.args.max_det and file not in self._cut_files:
                self._cut_files.add(file)
                tell_cut(file, count, self.args.max_det)

    def run_callbacks(self, event: str) -> None:
        """Run the user's callbacks; at the end find out which files could not be read, and count their frames."""
        if event == "on_predict_end":
            self.unreadable = self._seen.unreadable()
            if self.tracks is not None and self.tracks.frames:  # else there is nothing to count
                videos = getattr(self.dataset, "passed", {})
                pictures = [file for file in getattr(self.dataset, "files", ()) if file not in videos]
                self._steps.end(pictures, videos)
        outer = getattr(_running, "tables", ())
        _running.tables = (*outer, self.callbacks)
        try:
            super().run_callbacks(event)
        finally:
            _running.tables = outer

    def write_results(self, i: int, p: Path, im: Tensor, s: list[str]) -> str:
        """Write what was asked for of image `i` of the batch, of the path `p`; gives what to log of it.

        Outputs are called by the path of their source below the folder that is read, and lie in folders like its.
        """
        result, path = self.results[i], self.batch[0][i]
        result.save_dir = str(self.save_dir)
        base, moving = self.names.base(path), self.dataset.mode in {"stream", "video"}
        numbered = f"{base}_{result.frame}" if moving else self.names.base(path, self._numbers[i])
        if self.args.save or self.args.show:
            self.plotted_img = draw_detections(
                result.orig_img,
                result.detections(),
                line_width=self.args.line_width,
                boxes=self.args.show_boxes,
                scores=self.args.show_conf,
                names=self.args.show_labels,
            )
            if result.heatmap is not None:
                self.plotted_img = caption(self.plotted_img, result.heatmap.anomaly)
        if self.args.save_txt:
            labels = self.save_dir / "labels" / f"{numbered}.txt"
            write_labels(labels, result.detections(), result.orig_shape, self.args.save_conf)
        if self.args.save_crop:
            self._crops.write(numbered, result)
        if result.heatmap is not None:
            self._write_heatmap(numbered, result.orig_img, result.heatmap)
        if self.args.show:
            self.show(str(p))
        if self.args.save:
            self.save_predicted_images(self.save_dir / (base if moving else numbered), result.frame)
        height, width = im.shape[2:]
        return f"{height}x{width} {result.verbose()}{result.speed['inference']:.1f}ms"

    def _write_heatmap(self, name: str, image: np.ndarray, heatmap: Heatmap) -> None:
        """Write the heat map of an image as a picture, as numbers, or both."""
        if self.args.save:
            drawn = draw_heatmap(image, heatmap.values, heatmap.anomaly)
            write_picture(self.save_dir / _HEATMAPS / name, drawn)
        if self.options.save_maps:
            write_map(self.save_dir / _MAPS / name, heatmap.values, self.options.save_maps)

    def _number(self, path: str, text: str) -> int:
        """Say which frame of its video or camera the next image is; of pictures, the how many-th that is called so."""
        if self.dataset.mode == "video":
            return int(re.findall(r"frame (\d+)/", text)[0])
        count = self._counts[path] = self._counts.get(path, 0) + 1
        return count * self._stride if self.dataset.mode == "stream" else count

    def save_predicted_images(self, save_path: Path, frame: int = 0) -> None:
        """Write the picture with boxes, or add it to the video.

        Args:
            save_path: Of the picture or the video, without suffix.
            frame: Its number, of a video.
        """
        if self.dataset.mode not in {"stream", "video"}:
            write_picture(save_path, self.plotted_img)
            return
        file = self.dataset.mode == "video"  # else cameras, which are written side by side
        fps = self.dataset.fps if file else 30
        self._videos.write(save_path, max(1, fps / self._stride), self.plotted_img, alone=file)
        if self.args.save_frames:
            write_picture(Path(f"{save_path}_frames") / f"{save_path.name}_{frame}", self.plotted_img)
