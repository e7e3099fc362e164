"""An image read from a file: what it says about itself, and its layers as plain tars on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from minify.images import limits as bounds
from minify.images.layers import squash
from minify.images.span import Span
from minify.model import Image
from minify.tree import Tree


@dataclass(frozen=True)
class OpenedImage:
    """An image and its uncompressed layer tars, bottom first, verified against their diff_ids.

    `config` is its configuration as stored; `manifest` its manifest's digest, where it has one.
    """

    image: Image
    layers: tuple[Span, ...]
    limits: bounds.Limits = field(default=bounds.DEFAULT)
    config: bytes = b""
    manifest: str = ""

    @cached_property
    def tree(self) -> Tree:
        """The squashed tree; its bytes are read in place."""
        return squash(self.layers, self.limits)

    def base(self, count: int) -> Tree:
        """The squashed tree of the bottom `count` layers alone."""
        return squash(self.layers[:count], self.limits)
