"""Compile the programs of a card for Hopper, without one, and tell their names. Triton's interpreter must be off."""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from deblur_cli.kernels import programs

POINTERS = {
    "band": "*bf16",
    "value": "*bf16",
    "out": "*bf16",
    "qk": "*bf16",
    "y_edges": "*i32",
    "x_edges": "*i32",
}
NUMBERS = ("h", "w", "c", "rows", "top", "parts", "heads", "d")
ALIGNED = ("c", "d")
NO_VALUE = {"value": None, "value_taps": None, "value_bias": None}
BLOCKS = {"ROWS": 16, "COLUMNS": 16, "CHANNELS": 32}

for program, constants in (
    (programs.convolve, BLOCKS),
    (programs.convolve, BLOCKS | NO_VALUE),
    (programs.cell_sums, {"PIXELS": 64, "D": 64}),
    (programs.cell_sums, {"PIXELS": 64, "D": 128}),
):
    names = program.arg_names
    kinds = {
        name: "constexpr" if name in constants else "i32" if name in NUMBERS else POINTERS.get(name, "*fp32")
        for name in names
    }
    aligned = [name for name, kind in kinds.items() if kind.startswith("*") or name in ALIGNED]
    hints = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    source = ASTSource(program, kinds, constants, hints)
    triton.compile(source, target=GPUTarget("cuda", 90, 32))
    print(program.__name__)
