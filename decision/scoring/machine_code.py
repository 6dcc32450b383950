"""Loops of numbers as machine code, written with llvmlite, which comes with lleaves."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

BIT = ir.IntType(1)
LONG = ir.IntType(64)
DOUBLE = ir.DoubleType()
NONE, ONE = LONG(0), LONG(1)
PLACE = ctypes.c_void_p
COUNT = ctypes.c_int64
NUMBER = ctypes.c_double


def compile_function(module: ir.Module, name: str, prototype: Any) -> Callable[..., Any]:
    """A function of a module, for the processor of this machine.

    Its `prototype` keeps the GIL (`PYFUNCTYPE`): such loops take microseconds, and who gives it up
    may wait for it longer than that, behind another thread.
    """
    llvm.initialize()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    parsed = llvm.parse_assembly(str(module))
    options, passes = llvm.PassManagerBuilder(), llvm.ModulePassManager()
    options.opt_level, options.loop_vectorize = 3, True
    machine.add_analysis_passes(passes)
    options.populate(passes)
    passes.run(parsed)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    code: Any = prototype(engine.get_function_address(name))
    code.engine = engine  # the code goes when its engine does
    found: Callable[..., Any] = code
    return found


def address(array: Any) -> int:
    """Where an array lies that may be written: in a tenth of the time of `array.ctypes.data`."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array))


def at(b: ir.IRBuilder, array: Any, index: Any) -> Any:
    """What an array has at an index."""
    return b.load(b.gep(array, [index]))


def least(b: ir.IRBuilder, one: Any, other: Any) -> Any:
    """The smaller of two whole numbers."""
    return b.select(b.icmp_signed("<", one, other), one, other)


@contextmanager
def each(b: ir.IRBuilder, first: Any, end: Any, step: Any = ONE) -> Iterator[Any]:
    """What is built inside is done for each number from `first` on, below `end`."""
    before, head, body, done = b.block, *(b.append_basic_block() for _ in range(3))
    b.branch(head)
    b.position_at_end(head)
    number = b.phi(LONG)
    number.add_incoming(first, before)
    b.cbranch(b.icmp_signed("<", number, end), body, done)
    b.position_at_end(body)
    yield number
    number.add_incoming(b.add(number, step), b.block)
    b.branch(head)
    b.position_at_end(done)


def first_not(b: ir.IRBuilder, start: Any, passed: Callable[[Any], Any]) -> Any:
    """The first number from `start` on that is not passed."""
    before, head, done = b.block, b.append_basic_block(), b.append_basic_block()
    b.branch(head)
    b.position_at_end(head)
    number = b.phi(LONG)
    number.add_incoming(start, before)
    number.add_incoming(b.add(number, ONE), head)
    b.cbranch(passed(number), head, done)
    b.position_at_end(done)
    return number
