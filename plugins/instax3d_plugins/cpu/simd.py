"""An 8-lane float vector for numba kernels, as portable LLVM vector code.

LLVM lowers ``<8 x float>`` to one AVX register, to two SSE or NEON registers, or to whatever else the machine has, so
kernels written with it need no particular instruction set. Only what the tile kernels need is here: arithmetic and
comparison operators between vectors, and the functions below. All are free of bounds checks.

numba caches a compiled kernel by the stamp of the file that defines the kernel: after editing this module, touch the
kernels' modules (or delete their ``__pycache__``).
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np.arrayobj import make_array

LANES = 8

_F32 = ir.FloatType()
_I1 = ir.IntType(1)
_I8 = ir.IntType(8)
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(_F32, LANES)
_VECTOR_I32 = ir.VectorType(_I32, LANES)
_MASK = ir.VectorType(_I1, LANES)
_LANE_BITS = ir.IntType(LANES)
_FAST = ("fast",)


class _Float8Type(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Float8")


class _Mask8Type(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Mask8")


float8 = _Float8Type()
"""Eight float32 lanes."""
mask8 = _Mask8Type()
"""Eight truth values."""


@register_model(_Float8Type)
class _Float8Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, _VECTOR)


@register_model(_Mask8Type)
class _Mask8Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: types.Type) -> None:
        super().__init__(manager, kind, _MASK)


def _operator(symbol: Any, result: types.Type, operand: types.Type, build: Callable[[Any, Any, Any], Any]) -> None:
    """Teach numba a binary operator between two vectors of type ``operand``."""

    class Template(ConcreteTemplate):
        cases = (signature(result, operand, operand),)

    infer_global(symbol)(Template)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return build(builder, args[0], args[1])

    lower_builtin(symbol, operand, operand)(lower)


_operator(operator.add, float8, float8, lambda b, x, y: b.fadd(x, y, flags=_FAST))
_operator(operator.sub, float8, float8, lambda b, x, y: b.fsub(x, y, flags=_FAST))
_operator(operator.mul, float8, float8, lambda b, x, y: b.fmul(x, y, flags=_FAST))
_operator(operator.truediv, float8, float8, lambda b, x, y: b.fdiv(x, y, flags=_FAST))
_operator(operator.gt, mask8, float8, lambda b, x, y: b.fcmp_ordered(">", x, y))
_operator(operator.ge, mask8, float8, lambda b, x, y: b.fcmp_ordered(">=", x, y))
_operator(operator.le, mask8, float8, lambda b, x, y: b.fcmp_ordered("<=", x, y))
_operator(operator.and_, mask8, mask8, lambda b, x, y: b.and_(x, y))


def _constant(kind: Any, values: list[Any]) -> Any:
    return ir.Constant(kind, values)


def _external(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Declare an LLVM intrinsic (llvmlite cannot name those on vectors itself)."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def _fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    # fused where the machine can, a product and a sum where it cannot
    return builder.call(_external(builder, f"llvm.fmuladd.v{LANES}f32", _VECTOR, [_VECTOR] * 3), [x, y, z])


def _element(context: Any, builder: Any, array_type: Any, array: Any, index_type: Any, index: Any) -> Any:
    """Address of a flat array's element, unchecked."""
    return builder.gep(
        make_array(array_type)(context, builder, array).data, [context.cast(builder, index, index_type, types.intp)]
    )


@intrinsic
def splat(typing: Any, x: Any) -> Any:
    """The float32 ``x`` in all lanes."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        empty = ir.Constant(_VECTOR, ir.Undefined)
        first = builder.insert_element(empty, args[0], ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, empty, _constant(_VECTOR_I32, [0] * LANES))

    return float8(types.float32), build


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """Eight consecutive elements of a flat float32 array from ``index`` on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _element(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        return builder.load(builder.bitcast(address, _VECTOR.as_pointer()), align=4)

    return float8(array, index), build


@intrinsic
def store(typing: Any, array: Any, index: Any, x: Any) -> Any:
    """Write eight consecutive elements of a flat float32 array from ``index`` on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _element(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        builder.store(args[2], builder.bitcast(address, _VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(array, index, float8), build


@intrinsic
def fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _fma(builder, *args)

    return float8(float8, float8, float8), build


@intrinsic
def fnma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """``z - x * y``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _fma(builder, builder.fneg(args[0]), args[1], args[2])

    return float8(float8, float8, float8), build


@intrinsic
def minimum(typing: Any, x: Any, y: Any) -> Any:
    """The smaller of each pair of lanes."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1], flags=_FAST), args[0], args[1])

    return float8(float8, float8), build


@intrinsic
def absolute(typing: Any, x: Any) -> Any:
    """Magnitude of each lane."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.call(_external(builder, f"llvm.fabs.v{LANES}f32", _VECTOR, [_VECTOR]), args)

    return float8(float8), build


@intrinsic
def negative_absolute(typing: Any, x: Any) -> Any:
    """Minus the magnitude of each lane: sets the sign bit."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], _VECTOR_I32)
        return builder.bitcast(builder.or_(bits, _constant(_VECTOR_I32, [-(2**31)] * LANES)), _VECTOR)

    return float8(float8), build


@intrinsic
def reciprocal(typing: Any, x: Any) -> Any:
    """``1 / x``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fdiv(_constant(_VECTOR, [1.0] * LANES), args[0], flags=_FAST)

    return float8(float8), build


@intrinsic
def select(typing: Any, mask: Any, x: Any, y: Any) -> Any:
    """Lanes of ``x`` where ``mask`` is true, else of ``y``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return float8(mask8, float8, float8), build


@intrinsic
def exp2(typing: Any, x: Any) -> Any:
    """``2 ** x`` for -126 <= x < 128, relative error about 2e-7: round, polynomial of degree 5, shift the exponent."""
    coefficients = (1.3333558e-3, 9.6181291e-3, 5.5504109e-2, 2.4022651e-1, 6.9314718e-1, 1.0)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole = builder.call(_external(builder, f"llvm.nearbyint.v{LANES}f32", _VECTOR, [_VECTOR]), args)
        rest = builder.fsub(args[0], whole, flags=_FAST)
        power = _constant(_VECTOR, [coefficients[0]] * LANES)
        for coefficient in coefficients[1:]:
            power = _fma(builder, power, rest, _constant(_VECTOR, [coefficient] * LANES))
        exponent = builder.shl(builder.fptosi(whole, _VECTOR_I32), _constant(_VECTOR_I32, [23] * LANES))
        return builder.bitcast(builder.add(builder.bitcast(power, _VECTOR_I32), exponent), _VECTOR)

    return float8(float8), build


@intrinsic
def any_lane(typing: Any, mask: Any) -> Any:
    """1 where any lane is true, else 0 (int64)."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        some = builder.icmp_unsigned("!=", builder.bitcast(args[0], _LANE_BITS), ir.Constant(_LANE_BITS, 0))
        return builder.zext(some, _I64)

    return types.int64(mask8), build


@intrinsic
def all_negative(typing: Any, x: Any) -> Any:
    """1 where the sign bit of every lane is set, else 0 (int64)."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        signs = builder.icmp_signed("<", builder.bitcast(args[0], _VECTOR_I32), _constant(_VECTOR_I32, [0] * LANES))
        every = builder.icmp_unsigned("==", builder.bitcast(signs, _LANE_BITS), ir.Constant(_LANE_BITS, 2**LANES - 1))
        return builder.zext(every, _I64)

    return types.int64(float8), build


@intrinsic
def sum_lanes(typing: Any, x: Any) -> Any:
    """The sum of the eight lanes (float32)."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        add = _external(builder, f"llvm.vector.reduce.fadd.v{LANES}f32", _F32, [_F32, _VECTOR])
        return builder.call(add, [ir.Constant(_F32, -0.0), args[0]], fastmath=_FAST)

    return types.float32(float8), build


@intrinsic
def sums_of_eight(typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """A vector of eight sums, each over the lanes of one argument: 7 additions instead of 8 reductions."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def halve(x: Any, y: Any, left: list[int], right: list[int]) -> Any:
            low = builder.shuffle_vector(x, y, _constant(_VECTOR_I32, left))
            high = builder.shuffle_vector(x, y, _constant(_VECTOR_I32, right))
            return builder.fadd(low, high, flags=_FAST)

        # lanes after each round: a a b b a a b b (neighbors, interleaved), a b c d | a b c d, a b c d e f g h
        pairs = [
            halve(args[i], args[i + 1], [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15])
            for i in range(0, 8, 2)
        ]
        fours = [
            halve(pairs[i], pairs[i + 1], [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]) for i in (0, 2)
        ]
        return halve(fours[0], fours[1], [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])

    return float8(*[float8] * 8), build


@intrinsic
def trailing_zeros(typing: Any, bits: Any) -> Any:
    """Index of the lowest set bit of a non-zero int64."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        count = _external(builder, "llvm.cttz.i64", _I64, [_I64, _I1])
        return builder.call(count, [args[0], ir.Constant(_I1, 1)])

    return types.int64(types.int64), build


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of a flat array's element, to be read soon."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _element(context, builder, sig.args[0], args[0], sig.args[1], args[1])
        pointer = builder.bitcast(address, _I8.as_pointer())
        hint = _external(builder, "llvm.prefetch.p0", ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
        builder.call(hint, [pointer, ir.Constant(_I32, 0), ir.Constant(_I32, 3), ir.Constant(_I32, 1)])
        return context.get_dummy_value()

    return types.void(array, index), build


@intrinsic
def take_ticket(typing: Any, counter: Any) -> Any:
    """The next number, from 0, of an int64 array of one element that threads share: work is dealt out by it."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", address, ir.Constant(_I64, 1), "monotonic")

    return types.int64(counter), build
