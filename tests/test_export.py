import re
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from conftest import TINY, random_model
from deblur_cli import __version__
from deblur_cli.errors import WeightsError
from deblur_cli.export import check, write_onnx
from deblur_cli.model import Restormer, RestormerConfig
from test_cli import Deblur, deblur, tiny  # noqa: F401  (fixtures)

TAKEN_EVERYWHERE = {
    "Add", "Cast", "Concat", "Conv", "DepthToSpace", "Div", "Erf", "MatMul", "Max", "Mul", "ReduceMean", "ReduceSum",
    "Reshape", "Shape", "Softmax", "Sqrt", "Sub", "Transpose",
}  # fmt: skip
"""Operators that are in the lists of onnxruntime's DirectML and CoreML (ML program) providers and of TensorRT 8.4."""

KINDS = {
    "colour": TINY,
    "gray": replace(TINY, inp_channels=1, out_channels=1),
    "bias-free norm": replace(TINY, layer_norm="BiasFree"),
    "biases": replace(TINY, bias=True),
    "biases, bias-free norm": replace(TINY, bias=True, layer_norm="BiasFree"),
    "dual-pixel": replace(TINY, inp_channels=6, dual_pixel=True, bias=True),
    "unshuffle": replace(TINY, unshuffle=2),
    "unshuffle, gray, biases": replace(TINY, inp_channels=1, out_channels=1, unshuffle=2, bias=True),
    "unshuffle, dual-pixel": replace(TINY, inp_channels=6, dual_pixel=True, unshuffle=2),
}


def strong_model(config: RestormerConfig = TINY) -> Restormer:
    """One that changes its photo by much."""
    model = random_model(config)
    model.output.weight.mul_(10)
    return model


def operators(data: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(data).graph.node}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_network_that_the_loader_takes_gives_the_engines_numbers(kind: str, precision: str) -> None:
    model = strong_model(KINDS[kind])
    data = write_onnx(model, precision=precision)
    for size in ((48, 80), (64, 32), (16, 16)):
        assert check(data, model, size, precision) < (1e-5 if precision == "fp32" else 1e-3)
    fixed = write_onnx(model, precision=precision, size=48)
    assert check(fixed, model, (48, 48), precision) < (1e-5 if precision == "fp32" else 1e-3)
    assert operators(data) <= TAKEN_EVERYWHERE
    assert operators(fixed) <= TAKEN_EVERYWHERE - {"Shape"}


def test_the_papers_network_gives_the_engines_numbers() -> None:
    model = strong_model(RestormerConfig())
    check(write_onnx(model), model, (48, 64), "fp32")


def test_the_file_is_plain_and_says_what_it_takes() -> None:
    data = write_onnx(strong_model(), about={"weights": "mine"})
    model = onnx.load_from_string(data)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    assert all(
        attribute.type != onnx.AttributeProto.GRAPH
        for node in model.graph.node
        for attribute in node.attribute
    )
    session = onnxruntime.InferenceSession(data)
    (image,), (restored,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", [1, 3, "height", "width"])
    assert (restored.name, restored.type, restored.shape) == (
        "restored",
        "tensor(float)",
        [1, 3, "height", "width"],
    )
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["input"] == "image"
    assert metadata["output"] == "restored"
    assert metadata["layout"] == "NCHW, N is 1, C is R G B"
    assert metadata["range"].startswith("0..1")
    assert metadata["size_multiple"] == "8"
    assert metadata["weights"] == "mine"
    assert '"dim": 6' in metadata["config"]


def test_a_file_for_one_size_takes_no_other() -> None:
    session = onnxruntime.InferenceSession(write_onnx(strong_model(), size=32))
    session.run(None, {"image": torch.rand(1, 3, 32, 32).numpy()})
    with pytest.raises(Exception, match="Expected: 32"):
        session.run(None, {"image": torch.rand(1, 3, 32, 40).numpy()})


def test_a_black_photo_is_no_division_by_zero() -> None:
    for precision in ("fp32", "fp16"):
        session = onnxruntime.InferenceSession(
            write_onnx(strong_model(KINDS["bias-free norm"]), precision=precision)
        )
        (result,) = session.run(None, {"image": torch.zeros(1, 3, 16, 16).numpy()})
        assert (result == 0).all()


def test_half_precision_is_half_as_large() -> None:
    model = strong_model(replace(TINY, dim=24))
    whole, half = (len(write_onnx(model, precision=precision)) for precision in ("fp32", "fp16"))
    assert 0.5 * whole < half < 0.6 * whole


def test_what_float16_cannot_hold_is_refused() -> None:
    model = strong_model()
    model.latent[0].ffn.project_in.weight[0, 0] = 1e6
    with pytest.raises(WeightsError, match="too large for float16"):
        write_onnx(model, precision="fp16")
    write_onnx(model)


def test_more_than_a_file_holds_is_refused() -> None:
    with torch.device("meta"):
        model = Restormer(RestormerConfig(dim=480))
    with pytest.raises(WeightsError, match="more than 2 GB as fp32"):
        write_onnx(model)


def test_another_result_than_the_engines_is_an_error() -> None:
    model = strong_model()
    data = write_onnx(model)
    model.output.weight.mul_(1.1)
    with pytest.raises(WeightsError, match="another result than the engine: a pixel differs by"):
        check(data, model, (16, 16), "fp32")


def test_export_writes_a_checked_file(deblur: Deblur) -> None:  # noqa: F811
    outcome = deblur("export", "--weights", "compact", "-o", "new/net.onnx")
    assert outcome.code == 0
    assert "net.onnx: compact, fp32, any size, 6.9 MB; checked, largest difference" in outcome.err
    data = Path("new/net.onnx").read_bytes()
    assert operators(data) <= TAKEN_EVERYWHERE
    metadata = {each.key: each.value for each in onnx.load_from_string(data).metadata_props}
    assert metadata["weights"] == "compact"
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["window"] == "0"
    assert metadata["deblur"] == __version__


def test_export_takes_a_checkpoint_a_size_and_half_precision(deblur: Deblur, tiny: str) -> None:  # noqa: F811
    outcome = deblur("export", "--weights", tiny, "-o", "net.onnx", "--precision", "fp16", "--size", "40")
    assert (outcome.code, outcome.out) == (0, "")
    assert "tiny.safetensors, fp16, 40x40 pixels" in outcome.err
    assert onnxruntime.InferenceSession("net.onnx").get_inputs()[0].shape == [1, 3, 40, 40]
    again = deblur("export", "--weights", tiny, "-o", "net.onnx")
    assert again.code == 1
    assert "net.onnx: exists already" in again.err
    assert deblur("export", "--weights", tiny, "-o", "net.onnx", "--overwrite", "--quiet").err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--weights", "compact"), 2, "Missing option '--output'"),
        (("-o", "net.jpg"), 2, "-o net.jpg: an ONNX file is named FILE.onnx"),
        (("-o", "net.onnx", "--weights", "nobody"), 2, "no weights named 'nobody'"),
        (("-o", "net.onnx", "--weights", "motion"), 3, "motion are not installed"),
        (("-o", "net.onnx", "--size", "12"), 2, "--size 12 is no size(.|\n)*multiple of 8"),
        (("-o", "net.onnx", "--size", "0"), 2, "--size 0 is no size"),
        (("-o", "net.onnx", "--size", "-8"), 2, "--size -8 is no size"),
        (("-o", "net.onnx", "--size", "800000"), 1, "GB of memory, and .* GB are free"),
        (("-o", "/dev/null/net.onnx"), 1, "/dev/null: the folder cannot be made: .*\n *Choose another -o"),
        (("-o", "net.onnx", "--precision", "int8"), 2, "'int8' is not one of"),
    ],
)
def test_wrong_arguments_of_export_say_so(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    deblur: Deblur,  # noqa: F811
) -> None:
    outcome = deblur("export", *arguments)
    assert outcome.code == code
    assert re.search(message, outcome.err)
    assert not Path("net.onnx").exists()


def test_weights_that_no_file_can_follow_leave_no_file(deblur: Deblur, tmp_path: Path) -> None:  # noqa: F811
    model = random_model()
    model.output.weight.mul_(1e7)
    save_file(model.state_dict(), tmp_path / "wild.safetensors")
    outcome = deblur("export", "--weights", "wild.safetensors", "-o", "net.onnx", "--precision", "fp16")
    assert outcome.code == 3
    assert not Path("net.onnx").exists()


def test_without_its_libraries_export_says_what_to_install(
    deblur: Deblur,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith(("deblur_cli.export", "onnx"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    outcome = deblur("export", "-o", "net.onnx")
    assert outcome.code == 2
    assert "pip install 'deblur-cli[onnx]'" in outcome.err
