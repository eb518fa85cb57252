"""Write the table of weights in README.md, between its two markers, from weights.toml: `python docs/make_weights_table.py`."""

import re
from pathlib import Path

from deblur_cli.registry import WeightsEntry, load_registry

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- weights: begin -->\n", "<!-- weights: end -->\n"


def row(entry: WeightsEntry) -> str:
    """One line of the table. The licences differ in their first words; the rest stands below."""
    licence = entry.licence.partition(";")[0]
    size, parameters = f"{entry.size_bytes / 1e6:.0f} MB", f"{entry.parameters / 1e6:.1f} M"
    return f"| `{entry.name}` | {entry.title} | {parameters} | {size} | {entry.training_set} | {licence} |"


def weights_table() -> str:
    """All entries in the order of weights.toml, and their licences in full."""
    entries = load_registry().values()
    header = "| name | what for | parameters | size | trained on | licence |\n|---|---|---|---|---|---|"
    licences = dict.fromkeys(entry.licence for entry in entries if ";" in entry.licence)
    notes = [f"Licence of the published checkpoints, in full: {licence}." for licence in licences]
    return "\n".join([header, *map(row, entries), "", *notes, ""])


def with_table(text: str) -> str:
    """The text with what is between the markers replaced."""
    return re.sub(f"(?<={BEGIN}).*(?={END})", lambda _: weights_table(), text, flags=re.DOTALL)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
