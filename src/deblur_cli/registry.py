"""The weights that deblur knows by name: weights.toml as typed, validated entries.

It neither fetches nor loads anything: `download` turns an entry into a file, `loader` a file into a model.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from deblur_cli.errors import UsageError, WeightsError

TASKS = ("deblur", "defocus", "derain", "denoise")
CONFIG_KEYS = (
    "inp_channels",
    "out_channels",
    "dim",
    "num_blocks",
    "num_refinement_blocks",
    "layer_norm",
    "dual_pixel",
    "unshuffle",
)


HUB_PREFIX = "hub:"
"""Of names that are not in weights.toml: hub:OWNER/NAME[@REVISION][:FILE], a repository at the Hugging Face Hub."""

PAPER_WINDOW = 384
"""In pixels, of weights that say nothing else: the size of the crops that the paper trains on last."""

T = TypeVar("T")


@dataclass(frozen=True)
class BundledSource:
    """A file that travels inside the package."""

    file: str


@dataclass(frozen=True)
class HubSource:
    """A file of a Hugging Face repository at a full commit, so that its bytes can never change."""

    hub: str
    revision: str
    file: str


@dataclass(frozen=True)
class UrlSource:
    """A plain download. The host may change the bytes; the hash decides."""

    url: str


Source = BundledSource | HubSource | UrlSource


@dataclass(frozen=True)
class WeightsEntry:
    """One table of weights.toml. `sha256` is None where nobody has published it; `window` 0 means global attention."""

    name: str
    title: str
    task: str
    sources: tuple[Source, ...]
    size_bytes: int
    sha256: str | None
    parameters: int
    window: int
    config: Mapping[str, Any]
    training_set: str
    paper: str
    licence: str

    @property
    def file(self) -> str:
        """The file's own name, the same at every source."""
        source = self.sources[0]
        return urlsplit(source.url).path.rpartition("/")[2] if isinstance(source, UrlSource) else source.file

    @property
    def bundled(self) -> bool:
        """Whether the weights are inside the package and need no download."""
        return isinstance(self.sources[0], BundledSource)

    @property
    def listed(self) -> bool:
        """Whether it is in weights.toml."""
        return not self.name.startswith(HUB_PREFIX)

    @property
    def dual_pixel(self) -> bool:
        """Whether the network needs the two views of a dual-pixel camera, which are two files."""
        return bool(self.config.get("dual_pixel", False))


@cache
def load_registry() -> Mapping[str, WeightsEntry]:
    """All entries, by name, in the order of the file."""
    return parse_registry(weights_toml().read_text(encoding="utf-8"))


def weights_toml() -> Path | Traversable:
    """The file at the root of a checkout (also of an editable install), else the copy inside the installed package."""
    package = Path(__file__).parent
    root = package.parents[1]
    if package.parent.name == "src" and (root / "pyproject.toml").is_file():
        return root / "weights.toml"
    return resources.files(__package__) / "weights.toml"


def find_weights(name: str) -> WeightsEntry:
    """The entry of that name; UsageError with the known names otherwise."""
    registry = load_registry()
    if name not in registry:
        raise UsageError(
            f"there are no weights named {name!r}",
            hint=f"Known: {', '.join(registry)}; or give the path of a .pth, .pt or .safetensors file, or hub:OWNER/NAME.",
        )
    return registry[name]


def parse_registry(text: str) -> dict[str, WeightsEntry]:
    """weights.toml's text -> entries. WeightsError names the entry and the field that is wrong."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WeightsError(f"weights.toml is not valid TOML: {error}") from error
    return {name: _parse_entry(name, table) for name, table in tables.items()}


def _parse_entry(name: str, table: object) -> WeightsEntry:
    if not isinstance(table, dict):
        raise WeightsError(f"weights.toml: {name} is not a table")
    fields = _Fields(name, dict(table))
    entry = WeightsEntry(
        name=name,
        title=fields.take("title", str),
        task=fields.take("task", str, one_of=TASKS),
        sources=tuple(_parse_source(name, source) for source in fields.take("sources", list)),
        size_bytes=fields.take("size_bytes", int),
        sha256=fields.take("sha256", str, pattern=r"([0-9a-f]{64})?") or None,
        parameters=fields.take("parameters", int),
        window=fields.take("window", int),
        config=fields.take("config", dict, default={}),
        training_set=fields.take("training_set", str),
        paper=fields.take("paper", str),
        licence=fields.take("licence", str),
    )
    fields.finish()
    for field, ok, rule in (
        ("sources", entry.sources, "must not be empty"),
        ("size_bytes", entry.size_bytes > 0, "must be positive"),
        ("parameters", entry.parameters > 0, "must be positive"),
        ("window", entry.window >= 0 and entry.window % 8 == 0, "must be a multiple of 8"),
    ):
        if not ok:
            raise WeightsError(f"weights.toml: {name}.{field} {rule}")
    for key in entry.config:
        if key not in CONFIG_KEYS:
            raise WeightsError(
                f"weights.toml: {name}.config: unknown key {key!r} (known: {', '.join(CONFIG_KEYS)})"
            )
    return entry


def _parse_source(name: str, table: object) -> Source:
    fields = _Fields(f"{name}.sources", dict(table) if isinstance(table, dict) else {})
    source: Source
    if "bundled" in fields.table:
        source = BundledSource(fields.take("bundled", str))
    elif "hub" in fields.table:
        source = HubSource(
            fields.take("hub", str, pattern=r"[\w.-]+/[\w.-]+"),
            fields.take("revision", str, pattern=r"[0-9a-f]{40}"),
            fields.take("file", str),
        )
    else:
        source = UrlSource(
            fields.take("url", str, pattern=r"https://\S+/[^/\s]+|http://127\.0\.0\.1:\d+/\S+")
        )
    fields.finish()
    return source


class _Fields:
    """Takes typed fields out of a table and says which is missing, wrong or left over."""

    def __init__(self, where: str, table: dict[str, Any]) -> None:
        self.where = where
        self.table = table

    def take(
        self,
        key: str,
        kind: type[T],
        *,
        default: T | None = None,
        one_of: tuple[T, ...] = (),
        pattern: str = "",
    ) -> T:
        if key not in self.table and default is not None:
            return default
        if key not in self.table:
            raise WeightsError(f"weights.toml: {self.where} has no {key!r}")
        value = self.table.pop(key)
        if type(value) is not kind:
            raise WeightsError(f"weights.toml: {self.where}.{key} must be {kind.__name__}, not {value!r}")
        if one_of and value not in one_of:
            raise WeightsError(f"weights.toml: {self.where}.{key} must be one of {one_of}, not {value!r}")
        if pattern and not re.fullmatch(pattern, str(value)):
            raise WeightsError(f"weights.toml: {self.where}.{key} has the wrong form: {value!r}")
        return value

    def finish(self) -> None:
        if self.table:
            raise WeightsError(f"weights.toml: {self.where} has the unknown key {min(self.table)!r}")
