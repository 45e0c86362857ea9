"""Splits a whole into disjoint classes: text, audio, image and video; cached or not."""

from __future__ import annotations

from typing import NamedTuple

from .reading import UsageError


class Split(NamedTuple):
    """Tokens by modality; what is not audio, image or video is text."""

    audio: int = 0
    image: int = 0
    video: int = 0

    def total(self) -> int:
        return self.audio + self.image + self.video


NO_SPLIT = Split()

INPUT = ("input", "input_audio", "input_image", "input_video")
CACHE_READ = ("cache_read", "cache_read_audio", "cache_read_image", "cache_read_video")
OUTPUT = ("output", "output_audio", "output_image", "output_video")


def put(quantities: dict[str, int], names: tuple[str, ...], text: int, split: Split) -> None:
    """Add a text count and its modalities to the classes `names`."""
    for name, value in zip(names, (text, *split), strict=True):
        if value:
            quantities[name] = quantities.get(name, 0) + value


def share_cached(cached: int, text: int, other: Split) -> Split:
    """Where cached tokens lie when the provider does not say: in the text first.

    Providers cache a prompt's beginning, which is text more often than not; only what
    does not fit into the text is taken from audio, image and video, in this order.
    """
    rest = max(0, cached - text)
    taken = []
    for available in other:
        part = min(rest, available)
        taken.append(part)
        rest -= part
    return Split(*taken)


def minus(whole: Split, part: Split, field: str) -> Split:
    """`whole - part` by modality; a part larger than its whole is an error at `field`."""
    left = Split(whole.audio - part.audio, whole.image - part.image, whole.video - part.video)
    if min(left) < 0:
        name = Split._fields[left.index(min(left))]
        raise UsageError(
            field,
            f"counts more cached {name} tokens than the prompt has; "
            "write the provider's usage object unchanged",
        )
    return left
