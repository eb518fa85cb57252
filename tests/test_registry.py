import hashlib
import json
from pathlib import Path

import pytest

from conftest import DATA
from deblur_cli.errors import UsageError, WeightsError
from deblur_cli.model import RestormerConfig
from deblur_cli.registry import (
    HubSource,
    UrlSource,
    find_weights,
    load_registry,
    parse_registry,
    weights_toml,
)

ENTRY = """
[small]
title = "a test"
task = "deblur"
sources = [{ url = "https://example.org/small.pth" }]
size_bytes = 10
sha256 = "HASH"
parameters = 5
window = 384
training_set = "none"
paper = "none"
licence = "none"
""".replace("HASH", "0" * 64)


def test_a_checkout_reads_the_file_at_its_root() -> None:
    assert weights_toml() == Path(__file__).parents[1] / "weights.toml"


def test_all_published_checkpoints_are_there() -> None:
    assert list(load_registry()) == [
        "compact", "motion", "defocus", "derain", "denoise", "denoise-color", "denoise-gray", "defocus-dual-pixel",
    ]  # fmt: skip


def test_motion_has_only_the_url_and_the_others_the_hub_first() -> None:
    registry = load_registry()
    assert [type(source) for source in registry["motion"].sources] == [UrlSource]
    for name, entry in registry.items():
        if name not in ("compact", "motion"):
            assert [type(source) for source in entry.sources] == [HubSource, UrlSource]
        assert entry.sha256 is not None or name == "denoise-gray"


def test_configs_and_parameters_are_those_of_the_published_shapes() -> None:
    published = json.loads((DATA / "state_dict_shapes.json").read_text())
    for name, entry in load_registry().items():
        config = RestormerConfig(**entry.config)
        if name in published:
            shapes = published[name]["shapes"]
            assert entry.parameters == published[name]["parameters"]
            assert config.inp_channels == shapes["patch_embed.proj.weight"][1]
            assert (config.layer_norm == "WithBias") == ("latent.0.norm1.body.bias" in shapes)
            assert config.dual_pixel == entry.dual_pixel == ("skip_conv.weight" in shapes)


def test_the_bundled_weights_are_the_file_that_the_entry_describes() -> None:
    import deblur_cli

    entry = find_weights("compact")
    data = (Path(deblur_cli.__file__).parent / entry.file).read_bytes()
    assert entry.bundled
    assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.size_bytes, entry.sha256)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no weights named 'motoin'(.|\n)*motion, defocus"):
        find_weights("motoin")


def test_a_good_entry_is_read() -> None:
    entry = parse_registry(ENTRY)["small"]
    assert (entry.file, entry.window, entry.bundled, entry.dual_pixel) == ("small.pth", 384, False, False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[small]", "[small", "not valid TOML"),
        ("[small]", "small = 3\n[other]", "small is not a table"),
        ('title = "a test"', "", "small has no 'title'"),
        ('title = "a test"', "title = 3", "small.title must be str, not 3"),
        ('task = "deblur"', 'task = "cook"', "small.task must be one of"),
        ("size_bytes = 10", "size_bytes = true", "small.size_bytes must be int, not True"),
        ("size_bytes = 10", "size_bytes = 0", "small.size_bytes must be positive"),
        ("parameters = 5", "parameters = -5", "small.parameters must be positive"),
        ("window = 384", "window = 385", "small.window must be a multiple of 8"),
        ("0" * 64, "0" * 63, "small.sha256 has the wrong form"),
        ("window = 384", "window = 384\nspeed = 1", "small has the unknown key 'speed'"),
        ("window = 384", "window = 384\nconfig = { dims = 3 }", "small.config: unknown key 'dims'"),
        ('[{ url = "https://example.org/small.pth" }]', "[]", "small.sources must not be empty"),
        (
            "https://example.org/small.pth",
            "http://example.org/small.pth",
            "small.sources.url has the wrong form",
        ),
        ("https://example.org/small.pth", "https://example.org/", "small.sources.url has the wrong form"),
        ("{ url =", "{ path =", "small.sources has no 'url'"),
        (
            '{ url = "https://example.org/small.pth" }',
            '{ hub = "a/b", revision = "main", file = "x" }',
            "small.sources.revision has the wrong form",
        ),
        ('small.pth" }', 'small.pth", mirror = 1 }', "small.sources has the unknown key 'mirror'"),
    ],
)
def test_a_broken_entry_names_entry_and_field(old: str, new: str, message: str) -> None:
    assert old in ENTRY
    with pytest.raises(WeightsError, match=message):
        parse_registry(ENTRY.replace(old, new))
