"""The machine code of `leaf_masks`: the rows of one decision, through the table of a forest.

It is written with llvmlite, which comes with lleaves; `LeafMasks` says what the table is.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from llvmlite import ir

from decision.scoring.machine_code import (
    BIT,
    COUNT,
    DOUBLE,
    LONG,
    NONE,
    ONE,
    PLACE,
    compile_function,
    each,
    first_not,
    least,
)

_AT_ONCE: Final = 4
"""So many rows are summed side by side, as each addition waits for the one before it in its row."""


@cache
def compile_kernel(bits: int) -> Callable[..., None]:
    """The code for masks of 32 or 64 bits, made once in a process.

    Its arguments, arrays by their addresses: the matrix, the candidate of each row, the results,
    the number of rows, and an array of what is always the same. That has the features in a row, how
    many of them are shared, how many are own, the trees, the trees of a block; the shared features,
    where their rows of the table begin, the own features, where theirs begin, the ends, the table,
    the masks of each candidate, the leaves. The rows may be one in place of all, if none is own.
    """
    prototype = ctypes.PYFUNCTYPE(None, *[PLACE] * 3, COUNT, PLACE)
    return compile_function(_module(bits), "score", prototype)


def _module(bits: int) -> ir.Module:
    module, mask = ir.Module(), ir.IntType(bits)
    longs, doubles, masks = (kind.as_pointer() for kind in (LONG, DOUBLE, mask))
    given = [doubles, longs, doubles, *[LONG] * 6, *[longs] * 4, doubles, masks, masks, doubles]
    score = ir.Function(module, ir.FunctionType(ir.VoidType(), given), "of_rows")
    score.linkage = "internal"
    matrix, candidates, results, rows, width, shared, own, trees, block = score.args[:9]
    features, starts, own_features, own_starts, ends, table, known, leaves = score.args[9:]
    for argument in (*score.args[:3], *score.args[9:]):
        argument.add_attribute("noalias")  # no two of the arrays overlap
    lowest = module.declare_intrinsic("llvm.cttz", (mask,), ir.FunctionType(mask, (mask, BIT)))
    b = ir.IRBuilder(score.append_basic_block())
    lanes = [LONG(lane) for lane in range(_AT_ONCE)]
    of_all = b.alloca(mask, trees)
    of_rows = [b.alloca(mask, trees) for _ in lanes]
    totals, parts = ([b.alloca(DOUBLE) for _ in lanes] for _ in range(2))

    def at(array: Any, index: Any) -> Any:
        return b.load(b.gep(array, [index]))

    def narrow(kept: Any, row: Any, features: Any, starts: Any, count: Any) -> None:
        """Takes out of the masks what the nodes of these features take out."""
        with each(b, NONE, count) as number:
            value = at(row, at(features, number))
            place = first_not(
                b, at(starts, number), lambda one: b.fcmp_ordered(">", value, at(ends, one))
            )
            found = b.gep(table, [b.mul(place, trees)])
            with each(b, NONE, trees) as tree:
                b.store(b.and_(at(kept, tree), at(found, tree)), b.gep(kept, [tree]))

    with each(b, NONE, trees) as tree:
        b.store(mask(-1), b.gep(of_all, [tree]))
    narrow(of_all, matrix, features, starts, shared)
    last = b.sub(rows, ONE)
    with each(b, NONE, rows, LONG(_AT_ONCE)) as first:
        numbers = [least(b, b.add(first, lane), last) for lane in lanes]
        for row, of_row, total in zip(numbers, of_rows, totals, strict=True):
            of_candidate = b.gep(known, [b.mul(at(candidates, row), trees)])
            with each(b, NONE, trees) as tree:
                b.store(b.and_(at(of_all, tree), at(of_candidate, tree)), b.gep(of_row, [tree]))
            narrow(of_row, b.gep(matrix, [b.mul(row, width)]), own_features, own_starts, own)
            b.store(DOUBLE(0.0), total)
        with each(b, NONE, trees, block) as start:
            for part in parts:
                b.store(DOUBLE(0.0), part)
            with each(b, start, least(b, b.add(start, block), trees)) as tree:
                of_tree = b.gep(leaves, [b.mul(tree, LONG(bits))])
                for of_row, part in zip(of_rows, parts, strict=True):
                    leaf = b.call(lowest, [at(of_row, tree), BIT(1)])
                    leaf = b.zext(leaf, LONG) if bits < LONG.width else leaf
                    b.store(b.fadd(at(of_tree, leaf), b.load(part)), part)
            for part, total in zip(parts, totals, strict=True):
                b.store(b.fadd(b.load(part), b.load(total)), total)
        for row, total in zip(numbers, totals, strict=True):
            b.store(b.load(total), b.gep(results, [row]))
    b.ret_void()
    _with_fewer_arguments(module, score)
    return module


def _with_fewer_arguments(module: ir.Module, inner: ir.Function) -> None:
    """The function that is called from Python, where each argument of a call takes its time."""
    types = [argument.type for argument in inner.args]
    longs = LONG.as_pointer()
    outer = ir.Function(module, ir.FunctionType(ir.VoidType(), [*types[:4], longs]), "score")
    *given, same = outer.args
    b = ir.IRBuilder(outer.append_basic_block())
    for place, wanted in enumerate(types[4:]):
        number = b.load(b.gep(same, [LONG(place)]))
        given.append(number if wanted == LONG else b.inttoptr(number, wanted))
    b.call(inner, given)
    b.ret_void()
