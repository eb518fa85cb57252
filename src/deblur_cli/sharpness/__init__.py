"""How sharp a photo is, and what kind of blur it has: brightness in, a few numbers out. It knows no files.

A small network looks at the telling places of a photo; docs/blurred.md has the ideas and the figures.
"""

from deblur_cli.sharpness._measure import Kind, Sharpness, measure

__all__ = ["Kind", "Sharpness", "measure"]
