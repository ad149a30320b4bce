"""What a detector does wrong, and which labels probably are, by the two COCO dictionaries that a validation writes."""

from __future__ import annotations

from moat_det.evaluation.errors.file import error_analysis, write_errors
from moat_det.evaluation.errors.kinds import ALARMS, MISSES, find_errors
from moat_det.evaluation.errors.lost_ap import lost_ap
from moat_det.evaluation.errors.suspicious import suspicious_labels

__all__ = ["ALARMS", "MISSES", "error_analysis", "find_errors", "lost_ap", "suspicious_labels", "write_errors"]
