"""Weights entry -> verified file on this computer. The only user of the network.

It returns a path and knows no model: `loader` turns the file into one. Nothing is ever fetched unless it is asked
for by `fetch_weights`; looking (`find_installed`) and installing by hand (`install_file`) need no network.
"""

from deblur_cli.download._fetch import fetch_weights, install_file
from deblur_cli.download._hub import ask_hub
from deblur_cli.download._installed import Installed, cache_folder, find_installed, hub_cache_folder
from deblur_cli.download._names import (
    all_pinned,
    choose_entries,
    choose_entry,
    find_pinned,
    is_hub_name,
    pin,
)

__all__ = [
    "Installed",
    "all_pinned",
    "ask_hub",
    "cache_folder",
    "choose_entries",
    "choose_entry",
    "fetch_weights",
    "find_installed",
    "find_pinned",
    "hub_cache_folder",
    "install_file",
    "is_hub_name",
    "pin",
]
