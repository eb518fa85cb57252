"""Sharpen blurred photos with Restormer: `from deblur_cli import deblur`."""

__version__ = "0.1.0"
