"""SAM's second half, as Mobile-SAM has it: from an embedded picture and boxes to masks."""

from rtvp.models.segment_anything.segmenter import BoxSegmenter, load_mobile_sam_decoder

__all__ = ["BoxSegmenter", "load_mobile_sam_decoder"]
