"""The machine code of a decision's numbers after its trees: smoothing, priorities, the draw.

`choice` calls it, once each in place of a dozen functions of numpy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from math import inf
from typing import Any, Final

from llvmlite import ir

from decision.scoring.machine_code import (
    BIT,
    COUNT,
    DOUBLE,
    LONG,
    NONE,
    NUMBER,
    PLACE,
    at,
    compile_function,
    each,
)

_WIDE = ir.IntType(128)
_FLAGS = ir.IntType(8)
_POINT: Final = 116
"""Probabilities are added exactly, as whole numbers of 2 ** -116; a sum is at most 1."""
_LEAST: Final = 2.0**-60
"""The least probability that is such a number to its last bit."""
_BIAS, _DIGITS = 1023, 52
_INFINITE = DOUBLE(inf)


@cache
def compile_priorities() -> Callable[..., None]:
    """The code of `Arrays.priorities`.

    Its arguments, arrays by their addresses: the candidates, their effects, how many they are; the
    mask of the rules that hold, as bytes; what is always the same; the levers that result, and
    after them the priorities. What is always the same are the values and costs of all candidates,
    the levers of each rule (by their address, or 0), and how many rules there are.
    """
    longs, doubles, octets = (kind.as_pointer() for kind in (LONG, DOUBLE, _FLAGS))
    module = ir.Module()
    given = [longs, doubles, LONG, octets, longs, doubles]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), given), "priorities")
    candidates, effects, count, fired, same, lever = function.args
    b = ir.IRBuilder(function.append_basic_block())
    values, costs, levers = (
        b.inttoptr(at(b, same, LONG(place)), kind)
        for place, kind in enumerate((doubles, doubles, longs))
    )
    rules, priority = at(b, same, LONG(3)), b.gep(lever, [count])
    with each(b, NONE, count) as place:
        b.store(DOUBLE(1.0), b.gep(lever, [place]))
    with each(b, NONE, rules) as rule:
        octet = at(b, fired, b.lshr(rule, LONG(3)))
        holds = b.trunc(b.lshr(octet, b.trunc(b.and_(rule, LONG(7)), _FLAGS)), BIT)
        own = at(b, levers, rule)
        with b.if_then(b.and_(holds, b.icmp_signed("!=", own, NONE))):
            factors = b.inttoptr(own, doubles)
            with each(b, NONE, count) as place:
                factor = at(b, factors, at(b, candidates, place))
                b.store(b.fmul(at(b, lever, place), factor), b.gep(lever, [place]))
    with each(b, NONE, count) as place:
        candidate = at(b, candidates, place)
        found = b.fmul(at(b, values, candidate), at(b, effects, place))
        found = b.fsub(b.fmul(found, at(b, lever, place)), at(b, costs, candidate))
        b.store(found, b.gep(priority, [place]))
    b.ret_void()
    prototype = ctypes.PYFUNCTYPE(None, PLACE, PLACE, COUNT, *[PLACE] * 3)
    return compile_function(module, "priorities", prototype)


@cache
def compile_smoothing() -> Callable[..., None]:
    """The code of what follows tanh in `scorers.ModelScorer`.

    Its arguments, arrays by their addresses: the candidates, half of their log-odds, how many they
    are; the weight, offset and prior of all candidates, by their addresses; the tanh of those
    halves, in whose place the smoothed probabilities are written.
    """
    longs, doubles = (kind.as_pointer() for kind in (LONG, DOUBLE))
    module = ir.Module()
    given = [longs, doubles, LONG, longs, doubles]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), given), "smoothing")
    candidates, halves, count, same, found = function.args
    magnitude = module.declare_intrinsic("llvm.fabs", (DOUBLE,))
    b = ir.IRBuilder(function.append_basic_block())
    weights, offsets, priors = (b.inttoptr(at(b, same, LONG(place)), doubles) for place in range(3))
    with each(b, NONE, count) as place:
        candidate, half = at(b, candidates, place), DOUBLE(0.5)
        probability = b.fadd(b.fmul(at(b, found, place), half), half)
        smoothed = b.fmul(probability, at(b, weights, candidate))
        smoothed = b.fadd(smoothed, at(b, offsets, candidate))
        finite = b.fcmp_ordered("<", b.call(magnitude, [at(b, halves, place)]), _INFINITE)
        kept = b.select(finite, smoothed, at(b, priors, candidate))
        b.store(kept, b.gep(found, [place]))
    b.ret_void()
    prototype = ctypes.PYFUNCTYPE(None, PLACE, PLACE, COUNT, PLACE, PLACE)
    return compile_function(module, "smoothing", prototype)


@cache
def compile_choice() -> Callable[..., int]:
    """The code of `Arrays.choose`.

    Its arguments, arrays by their addresses: the priorities, how many they are (two at least), γ
    (finite, not negative), the number drawn; the probabilities that result. It gives the place that
    is drawn; -1 where the probabilities are to be made otherwise.
    """
    doubles = DOUBLE.as_pointer()
    module = ir.Module()
    kind = ir.FunctionType(LONG, [doubles, LONG, DOUBLE, DOUBLE, doubles])
    function = ir.Function(module, kind, "choice")
    priorities, count, gamma, drawn, weights = function.args
    magnitude = module.declare_intrinsic("llvm.fabs", (DOUBLE,))
    b = ir.IRBuilder(function.append_basic_block())

    def kept(kind: Any, start: Any) -> Any:
        found = b.alloca(kind)
        b.store(start, found)
        return found

    def keep_if(condition: Any, variable: Any, value: Any) -> None:
        b.store(b.select(condition, value, b.load(variable)), variable)

    good = kept(BIT, BIT(1))
    largest, top, best = kept(DOUBLE, DOUBLE(0.0)), kept(DOUBLE, DOUBLE(-inf)), kept(LONG, NONE)
    with each(b, NONE, count) as place:
        size = b.call(magnitude, [at(b, priorities, place)])
        b.store(b.and_(b.load(good), b.fcmp_ordered("<", size, _INFINITE)), good)
        keep_if(b.fcmp_ordered(">", size, b.load(largest)), largest, size)
    inverse = b.fdiv(DOUBLE(1.0), b.load(largest))
    usable = b.fcmp_ordered("<", inverse, _INFINITE)  # which it is not of 0
    scale = b.select(usable, inverse, DOUBLE(1.0))
    with each(b, NONE, count) as place:
        scaled = b.fmul(at(b, priorities, place), scale)
        b.store(scaled, b.gep(weights, [place]))
        better = b.fcmp_ordered(">", scaled, b.load(top))
        keep_if(better, best, place)
        keep_if(better, top, scaled)
    first, total = b.load(best), kept(_WIDE, _WIDE(0))
    many = b.sitofp(count, DOUBLE)
    with each(b, NONE, count) as place:
        gap = b.fsub(b.load(top), at(b, weights, place))
        weight = b.fdiv(DOUBLE(1.0), b.fadd(many, b.fmul(gamma, gap)))
        other = b.icmp_signed("!=", place, first)
        exact = b.or_(b.not_(other), b.fcmp_ordered(">=", weight, DOUBLE(_LEAST)))
        b.store(b.and_(b.load(good), exact), good)
        b.store(weight, b.gep(weights, [place]))
        keep_if(other, total, b.add(b.load(total), _fixed(b, weight)))
    rest = b.fsub(DOUBLE(1.0), _rounded(b, module, b.load(total)))
    b.store(rest, b.gep(weights, [first]))
    chosen, below = kept(LONG, LONG(-1)), kept(DOUBLE, DOUBLE(0.0))
    with each(b, NONE, count) as place:
        b.store(b.fadd(b.load(below), at(b, weights, place)), below)
        here = b.fcmp_ordered("<", drawn, b.load(below))
        keep_if(b.and_(here, b.icmp_signed("<", b.load(chosen), NONE)), chosen, place)
    b.ret(b.select(b.load(good), b.load(chosen), LONG(-1)))
    prototype = ctypes.PYFUNCTYPE(COUNT, PLACE, COUNT, NUMBER, NUMBER, PLACE)
    return compile_function(module, "choice", prototype)


def _fixed(b: ir.IRBuilder, number: Any) -> Any:
    """A number from `_LEAST` to 1 as a whole number of 2 ** -_POINT."""
    bits = b.bitcast(number, LONG)
    digits = b.or_(b.and_(bits, LONG((1 << _DIGITS) - 1)), LONG(1 << _DIGITS))
    places = b.sub(b.lshr(bits, LONG(_DIGITS)), LONG(_BIAS + _DIGITS - _POINT))
    return b.shl(b.zext(digits, _WIDE), b.zext(places, _WIDE))


def _rounded(b: ir.IRBuilder, module: ir.Module, whole: Any) -> Any:
    """The float nearest to a positive whole number of 2 ** -_POINT; of two, the even one."""
    zeros = module.declare_intrinsic("llvm.ctlz", (_WIDE,), ir.FunctionType(_WIDE, (_WIDE, BIT)))
    leading = b.call(zeros, [whole, BIT(0)])
    shifted = b.shl(whole, leading)
    high = b.trunc(b.lshr(shifted, _WIDE(65)), LONG)  # 63 bits, which are not negative
    lower = b.icmp_unsigned("!=", b.and_(shifted, _WIDE((1 << 65) - 1)), _WIDE(0))
    digits = b.sitofp(b.or_(high, b.zext(lower, LONG)), DOUBLE)
    exponent = b.sub(LONG(_BIAS + 65 - _POINT), b.trunc(leading, LONG))
    return b.fmul(digits, b.bitcast(b.shl(exponent, LONG(_DIGITS)), DOUBLE))
