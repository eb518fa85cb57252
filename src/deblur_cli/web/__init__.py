"""`deblur web`: a page in the browser, served from this computer to this computer.

The process that serves it knows no torch and decodes nothing: photos are sharpened, looked at and saved in two processes of their own (`_tasks`), by the same functions as
on the command line. `_queue` holds the photos, `_app` answers the page, `_guard` keeps everybody else out, `_folder` holds the files; docs/web.md describes it.
"""

from deblur_cli.web._serve import Settings, serve

__all__ = ["Settings", "serve"]
