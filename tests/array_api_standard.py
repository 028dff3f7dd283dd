"""The Python array API standard, version 2024.12, as tables: signatures, dtype promotion, special cases.

Source: https://data-apis.org/array-api/2024.12/.
"""

from __future__ import annotations

# ---------------------------------------------------------------------------------------- signatures
# name -> parameters; a default that is not written differs between implementations

SIGNATURES = {
    # creation
    "arange": "start, /, stop=None, step=1, *, dtype=None, device=None",
    "asarray": "obj, /, *, dtype=None, device=None, copy=None",
    "empty": "shape, *, dtype=None, device=None",
    "empty_like": "x, /, *, dtype=None, device=None",
    "eye": "n_rows, n_cols=None, /, *, k=0, dtype=None, device=None",
    "from_dlpack": "x, /, *, device=None, copy=None",
    "full": "shape, fill_value, *, dtype=None, device=None",
    "full_like": "x, /, fill_value, *, dtype=None, device=None",
    "linspace": "start, stop, /, num, *, dtype=None, device=None, endpoint=True",
    "meshgrid": "*arrays, indexing='xy'",
    "ones": "shape, *, dtype=None, device=None",
    "ones_like": "x, /, *, dtype=None, device=None",
    "tril": "x, /, *, k=0",
    "triu": "x, /, *, k=0",
    "zeros": "shape, *, dtype=None, device=None",
    "zeros_like": "x, /, *, dtype=None, device=None",
    # data types
    "astype": "x, dtype, /, *, copy=True, device=None",
    "can_cast": "from_, to, /",
    "finfo": "type, /",
    "iinfo": "type, /",
    "isdtype": "dtype, kind",
    "result_type": "*arrays_and_dtypes",
    # elementwise, of one array and of two
    **dict.fromkeys(
        "abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan log log1p log2"
        " log10 logical_not negative positive real reciprocal round sign signbit sin sinh square sqrt tan tanh trunc".split(),
        "x, /",
    ),
    **dict.fromkeys(
        "add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal floor_divide greater"
        " greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor maximum minimum multiply nextafter not_equal"
        " pow remainder subtract".split(),
        "x1, x2, /",
    ),
    "clip": "x, /, min=None, max=None",
    # indexing
    "take": "x, indices, /, *, axis=None",
    "take_along_axis": "x, indices, /, *, axis=-1",
    # inspection
    "__array_namespace_info__": "",
    # linear algebra
    "matmul": "x1, x2, /",
    "matrix_transpose": "x, /",
    "tensordot": "x1, x2, /, *, axes=2",
    "vecdot": "x1, x2, /, *, axis=-1",
    # manipulation
    "broadcast_arrays": "*arrays",
    "broadcast_to": "x, /, shape",
    "concat": "arrays, /, *, axis=0",
    "expand_dims": "x, /, *, axis=0",
    "flip": "x, /, *, axis=None",
    "moveaxis": "x, source, destination, /",
    "permute_dims": "x, /, axes",
    "repeat": "x, repeats, /, *, axis=None",
    "reshape": "x, /, shape, *, copy=None",
    "roll": "x, /, shift, *, axis=None",
    "squeeze": "x, /, axis",
    "stack": "arrays, /, *, axis=0",
    "tile": "x, repetitions, /",
    "unstack": "x, /, *, axis=0",
    # searching
    "argmax": "x, /, *, axis=None, keepdims=False",
    "argmin": "x, /, *, axis=None, keepdims=False",
    "count_nonzero": "x, /, *, axis=None, keepdims=False",
    "nonzero": "x, /",
    "searchsorted": "x1, x2, /, *, side='left', sorter=None",
    "where": "condition, x1, x2, /",
    # sets
    "unique_all": "x, /",
    "unique_counts": "x, /",
    "unique_inverse": "x, /",
    "unique_values": "x, /",
    # sorting
    "argsort": "x, /, *, axis=-1, descending=False, stable=True",
    "sort": "x, /, *, axis=-1, descending=False, stable=True",
    # statistics
    "cumulative_prod": "x, /, *, axis=None, dtype=None, include_initial=False",
    "cumulative_sum": "x, /, *, axis=None, dtype=None, include_initial=False",
    "max": "x, /, *, axis=None, keepdims=False",
    "mean": "x, /, *, axis=None, keepdims=False",
    "min": "x, /, *, axis=None, keepdims=False",
    "prod": "x, /, *, axis=None, dtype=None, keepdims=False",
    "std": "x, /, *, axis=None, correction=0.0, keepdims=False",
    "sum": "x, /, *, axis=None, dtype=None, keepdims=False",
    "var": "x, /, *, axis=None, correction=0.0, keepdims=False",
    # utilities
    "all": "x, /, *, axis=None, keepdims=False",
    "any": "x, /, *, axis=None, keepdims=False",
    "diff": "x, /, *, axis=-1, n=1, prepend=None, append=None",
}

LINALG = {
    "cholesky": "x, /, *, upper=False",
    "cross": "x1, x2, /, *, axis=-1",
    "det": "x, /",
    "diagonal": "x, /, *, offset=0",
    "eigh": "x, /",
    "eigvalsh": "x, /",
    "inv": "x, /",
    "matmul": "x1, x2, /",
    "matrix_norm": "x, /, *, keepdims=False, ord='fro'",
    "matrix_power": "x, n, /",
    "matrix_rank": "x, /, *, rtol=None",
    "matrix_transpose": "x, /",
    "outer": "x1, x2, /",
    "pinv": "x, /, *, rtol=None",
    "qr": "x, /, *, mode='reduced'",
    "slogdet": "x, /",
    "solve": "x1, x2, /",
    "svd": "x, /, *, full_matrices=True",
    "svdvals": "x, /",
    "tensordot": "x1, x2, /, *, axes=2",
    "trace": "x, /, *, offset=0, dtype=None",
    "vecdot": "x1, x2, /, *, axis=-1",
    "vector_norm": "x, /, *, axis=None, keepdims=False, ord=2",
}

FFT = {
    **dict.fromkeys("fft ifft rfft irfft hfft ihfft".split(), "x, /, *, n=None, axis=-1, norm='backward'"),
    **dict.fromkeys("fftn ifftn rfftn irfftn".split(), "x, /, *, s=None, axes=None, norm='backward'"),
    "fftfreq": "n, /, *, d=1.0, dtype=None, device=None",
    "rfftfreq": "n, /, *, d=1.0, dtype=None, device=None",
    "fftshift": "x, /, *, axes=None",
    "ifftshift": "x, /, *, axes=None",
}

CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
BOOLEAN, SIGNED, UNSIGNED = ("bool",), ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32", "uint64")
FLOATING, COMPLEX = ("float32", "float64"), ("complex64", "complex128")
DTYPES = BOOLEAN + SIGNED + UNSIGNED + FLOATING + COMPLEX
KINDS = {
    "bool": BOOLEAN, "signed integer": SIGNED, "unsigned integer": UNSIGNED, "integral": SIGNED + UNSIGNED, "real floating": FLOATING,
    "complex floating": COMPLEX, "numeric": SIGNED + UNSIGNED + FLOATING + COMPLEX,
}  # fmt: skip

# the array object
ATTRIBUTES = ("dtype", "device", "mT", "ndim", "shape", "size", "T")
METHODS = (
    "__abs__ __array_namespace__ __bool__ __complex__ __dlpack__ __dlpack_device__ __float__ __getitem__ __index__ __int__ __invert__"
    " __neg__ __pos__ __setitem__ to_device"
).split()
OPERATORS = {  # operator method -> function
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide", "mod": "remainder", "pow": "pow",
    "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}  # fmt: skip
COMPARISONS = {
    "eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
}  # fmt: skip

# which kinds of dtypes a function of one or two arrays takes, and the kind of the result ("same": that of the operands)
_REAL, _FLOAT, _NUMERIC = SIGNED + UNSIGNED + FLOATING, FLOATING + COMPLEX, KINDS["numeric"]
OPERANDS = {
    **dict.fromkeys("add subtract multiply pow square positive negative conj sign".split(), (_NUMERIC, "same")),
    **dict.fromkeys("equal not_equal".split(), (DTYPES, "bool")),
    **dict.fromkeys("less less_equal greater greater_equal".split(), (_REAL, "bool")),
    **dict.fromkeys("maximum minimum floor_divide remainder".split(), (_REAL, "same")),
    **dict.fromkeys("ceil floor trunc".split(), (_REAL, "same")),
    "round": (_NUMERIC, "same"),
    **dict.fromkeys("bitwise_and bitwise_or bitwise_xor bitwise_invert".split(), (BOOLEAN + KINDS["integral"], "same")),
    **dict.fromkeys("bitwise_left_shift bitwise_right_shift".split(), (KINDS["integral"], "same")),
    **dict.fromkeys("logical_and logical_or logical_xor logical_not".split(), (BOOLEAN, "bool")),
    **dict.fromkeys("atan2 copysign hypot logaddexp nextafter".split(), (FLOATING, "same")),
    "divide": (_FLOAT, "same"),
    **dict.fromkeys(
        "acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p log2 log10 reciprocal sin sinh sqrt tan tanh".split(),
        (_FLOAT, "same"),
    ),
    **dict.fromkeys("isfinite isinf isnan".split(), (_NUMERIC, "bool")),
    "signbit": (FLOATING, "bool"),
    "abs": (_NUMERIC, "real"),
    **dict.fromkeys(("real", "imag"), (COMPLEX, "real")),
}

# the functions of two arrays of which one may be a Python number, by its type; and the dtypes of the array beside it
_LOGICAL, _BITS = "logical_and logical_or logical_xor".split(), "bitwise_and bitwise_or bitwise_xor".split()
_REAL_BINARY = (
    "add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp maximum minimum multiply nextafter"
    " not_equal pow remainder subtract"
).split()
NUMBERS = {
    "bool": [*_BITS, *_LOGICAL, "equal", "not_equal"],
    "int": [*_BITS, "bitwise_left_shift", "bitwise_right_shift", *_REAL_BINARY],
    "float": _REAL_BINARY,
    "complex": "add divide equal multiply not_equal pow subtract".split(),
}
TAKES_NUMBER = {"bool": BOOLEAN, "int": _NUMERIC, "float": _FLOAT, "complex": _FLOAT}


def promoted(a: str, b: str) -> str | None:
    """The dtype of an operation on two dtypes by the standard's tables; None where they say nothing."""
    if a == b:
        return a
    kinds = [KINDS["signed integer"], KINDS["unsigned integer"], FLOATING, COMPLEX]
    for kind in kinds:
        if a in kind and b in kind:
            return max(a, b, key=kind.index)
    if a in UNSIGNED:
        a, b = b, a
    if a in SIGNED and b in UNSIGNED:  # the least signed type that holds both
        rank = max(SIGNED.index(a), UNSIGNED.index(b) + 1)
        return SIGNED[rank] if rank < 4 else None
    if a in COMPLEX:
        a, b = b, a
    if a in FLOATING and b in COMPLEX:
        return COMPLEX[max(FLOATING.index(a), COMPLEX.index(b))]
    return None


# ------------------------------------------------------------------------------------- special cases
# "operands result" separated by semicolons.  Letters stand for classes: A any value, R any but NaN, F finite, Q finite and not
# zero, P positive and finite, N negative and finite, Z +0 and -0, I both infinities, G positive or +inf, L negative or -inf,
# K an integer-valued number, M any but 1, B a number beyond 1, U below 1, V below -1.  x and y are the operands themselves.

SPECIAL_UNARY = {
    "abs": "nan nan; -0 0; -inf inf; G x; N -x",
    "acos": "nan nan; B nan; V nan; 1 0",
    "acosh": "nan nan; U nan; 1 0; inf inf",
    "asin": "nan nan; B nan; V nan; Z x",
    "asinh": "nan nan; Z x; I x",
    "atan": "nan nan; Z x; inf pi/2; -inf -pi/2",
    "atanh": "nan nan; V nan; B nan; -1 -inf; 1 inf; Z x",
    "ceil": "nan nan; I x; Z x; K x; -0.5 -0; 0.5 1; 2.5 3; -2.5 -2",
    "cos": "nan nan; Z 1; I nan",
    "cosh": "nan nan; Z 1; I inf",
    "exp": "nan nan; Z 1; inf inf; -inf 0",
    "expm1": "nan nan; Z x; inf inf; -inf -1",
    "floor": "nan nan; I x; Z x; K x; 0.5 0; -0.5 -1; 2.5 2; -2.5 -3",
    "isfinite": "I 0; nan 0; F 1",
    "isinf": "I 1; nan 0; F 0",
    "isnan": "nan 1; R 0",
    "log": "nan nan; L nan; Z -inf; 1 0; inf inf",
    "log1p": "nan nan; V nan; -1 -inf; Z x; inf inf",
    "log2": "nan nan; L nan; Z -inf; 1 0; inf inf",
    "log10": "nan nan; L nan; Z -inf; 1 0; inf inf",
    "negative": "nan nan; R -x",
    "positive": "A x",
    "reciprocal": "nan nan; inf 0; -inf -0; 0 inf; -0 -inf; 2.5 0.4",
    "round": "nan nan; I x; Z x; K x; 0.5 0; -0.5 -0; 1.5 2; 2.5 2; -2.5 -2; -1.5 -2",
    "sign": "nan nan; Z 0; G 1; L -1",
    "signbit": "0 0; -0 1; G 0; L 1; inf 0; -inf 1",
    "sin": "nan nan; Z x; I nan",
    "sinh": "nan nan; Z x; I x",
    "sqrt": "nan nan; L nan; Z x; inf inf",
    "square": "nan nan; I inf; Z 0; Q x*x",
    "tan": "nan nan; Z x; I nan",
    "tanh": "nan nan; Z x; inf 1; -inf -1",
    "trunc": "nan nan; I x; Z x; K x; 0.5 0; -0.5 -0; 2.5 2; -2.5 -2",
}

_SIGN_OF_QUOTIENT = "0 G 0; -0 G -0; 0 L -0; -0 L 0; G 0 inf; G -0 -inf; L 0 -inf; L -0 inf"
SPECIAL_BINARY = {
    "add": "nan A nan; A nan nan; inf -inf nan; -inf inf nan; inf inf inf; -inf -inf -inf; inf F inf; -inf F -inf; F inf inf; F -inf -inf;"
    " -0 -0 -0; -0 0 0; 0 -0 0; 0 0 0; Z Q y; Q Z x; 2.5 -2.5 0; -3 3 0",
    "atan2": "nan A nan; A nan nan; G Z pi/2; 0 G 0; 0 0 0; 0 -0 pi; 0 L pi; -0 G -0; -0 0 -0; -0 -0 -pi; -0 L -pi; L Z -pi/2; P inf 0;"
    " P -inf pi; N inf -0; N -inf -pi; inf F pi/2; -inf F -pi/2; inf inf pi/4; inf -inf 3*pi/4; -inf inf -pi/4; -inf -inf -3*pi/4",
    "copysign": "R -0 -abs(x); R 0 abs(x); R G abs(x); R L -abs(x); R nan abs(x); nan A nan",
    "divide": f"nan A nan; A nan nan; I I nan; Z Z nan; {_SIGN_OF_QUOTIENT}; inf P inf; inf N -inf; -inf P -inf; -inf N inf; P inf 0;"
    " P -inf -0; N inf -0; N -inf 0; Q Q x/y",
    "equal": "nan A 0; A nan 0; inf inf 1; -inf -inf 1; Z Z 1; inf F 0; inf -inf 0; Q Q x==y",
    "floor_divide": f"nan A nan; A nan nan; I I nan; Z Z nan; {_SIGN_OF_QUOTIENT}; P inf 0; N -inf 0; Q Q floor(x/y)",
    "greater": "nan A 0; A nan 0; R R x>y",
    "greater_equal": "nan A 0; A nan 0; R R x>=y",
    "less": "nan A 0; A nan 0; R R x<y",
    "less_equal": "nan A 0; A nan 0; R R x<=y",
    "not_equal": "nan A 1; A nan 1; R R x!=y",
    "hypot": "I A inf; A I inf; Z R abs(y); R Z abs(x); F nan nan; nan F nan; nan nan nan",
    "logaddexp": "nan A nan; A nan nan; inf R inf; R inf inf; -inf -inf -inf; -inf Q y; Q -inf x",
    "maximum": "nan A nan; A nan nan; Q Q max(x,y); inf R inf; -inf R y",
    "minimum": "nan A nan; A nan nan; Q Q min(x,y); -inf R -inf; inf R y",
    "multiply": "nan A nan; A nan nan; I Z nan; Z I nan; inf G inf; inf L -inf; -inf G -inf; -inf L inf; G inf inf; L inf -inf; P 0 0;"
    " P -0 -0; N 0 -0; N -0 0; 0 0 0; 0 -0 -0; -0 0 -0; -0 -0 0; Q Q x*y",
    "nextafter": "nan A nan; A nan nan; -0 0 y; 0 -0 y; 1 1 1; -2.5 -2.5 -2.5; inf inf inf; -inf -inf -inf",
    "pow": "1 R 1; A Z 1; M nan nan; nan Q nan; nan I nan; Z inf 0; Z -inf inf; B inf inf; B -inf 0; 1 inf 1; 1 -inf 1; 0.5 inf 0; 0.5 -inf inf; inf G inf; inf L 0; -inf 3 -inf;"
    " -inf 2 inf; -inf 2.5 inf; -inf -3 -0; -inf -2 0; -inf -2.5 0; 0 P 0; 0 N inf; -0 3 -0; -0 2 0; -0 2.5 0; -0 -3 -inf; -0 -2 inf;"
    " -0 -2.5 inf; N 2.5 nan; N 0.5 nan; N -2.5 nan; -1 I 1; V inf inf; V -inf 0; -0.5 inf 0; -0.5 -inf inf",
    "remainder": "nan A nan; A nan nan; I A nan; Z Z nan; 0 G 0; -0 G 0; 0 L -0; -0 L -0; Q Z nan; P inf x; P -inf y; N inf y; N -inf x;"
    " Q Q x%y; 2.5 1.5 1; -2.5 1.5 0.5; 2.5 -1.5 -0.5; 3 1.5 0; -3 1.5 0; 3 -1.5 -0; -3 -1.5 -0",
    "subtract": "nan A nan; A nan nan; inf inf nan; -inf -inf nan; inf -inf inf; -inf inf -inf; inf F inf; F inf -inf; F -inf inf;"
    " 0 0 0; -0 -0 0; 0 -0 0; -0 0 -0; Q Q x-y",
}

# "a b: real imag" for a + bj; a zero or an infinity with ? before it has a sign that is not specified.
# f(conj(z)) = conj(f(z)) holds for every function, and doubles the table.
SPECIAL_COMPLEX = {
    "acosh": "Z 0: 0 pi/2; F inf: inf pi/2; Q nan: nan nan; 0 nan: nan ?pi/2; -inf P: inf pi; inf P: inf 0; -inf inf: inf 3*pi/4;"
    " inf inf: inf pi/4; I nan: inf nan; nan F: nan nan; nan inf: inf nan; nan nan: nan nan",
    "acos": "Z 0: pi/2 -0; Z nan: pi/2 nan; F inf: pi/2 -inf; Q nan: nan nan; -inf P: pi -inf; inf P: 0 -inf; -inf inf: 3*pi/4 -inf;"
    " inf inf: pi/4 -inf; I nan: nan ?inf; nan F: nan nan; nan inf: nan -inf; nan nan: nan nan",
    "asinh": "0 0: 0 0; P inf: inf pi/2; F nan: nan nan; inf P: inf 0; inf inf: inf pi/4; inf nan: inf nan; nan 0: nan 0; nan Q: nan nan;"
    " nan inf: ?inf nan; nan nan: nan nan",
    "atanh": "0 0: 0 0; 0 nan: 0 nan; 1 0: inf 0; P inf: 0 pi/2; Q nan: nan nan; inf P: 0 pi/2; inf inf: 0 pi/2; inf nan: 0 nan;"
    " nan F: nan nan; nan inf: ?0 pi/2; nan nan: nan nan",
    "cosh": "0 0: 1 0; 0 inf: nan ?0; 0 nan: nan ?0; Q inf: nan nan; Q nan: nan nan; inf 0: inf 0; inf Q: inf*cos(b) inf*sin(b);"
    " inf inf: ?inf nan; inf nan: inf nan; nan Z: nan ?0; nan Q: nan nan; nan nan: nan nan",
    "exp": "Z 0: 1 0; F inf: nan nan; F nan: nan nan; inf 0: inf 0; -inf F: 0*cos(b) 0*sin(b); inf Q: inf*cos(b) inf*sin(b);"
    " -inf inf: ?0 ?0; inf inf: ?inf nan; -inf nan: ?0 ?0; inf nan: ?inf nan; nan 0: nan 0; nan Q: nan nan; nan I: nan nan; nan nan: nan nan",
    "expm1": "Z 0: ?0 0; F inf: nan nan; F nan: nan nan; inf 0: inf 0; -inf F: -1 0*sin(b); inf Q: inf*cos(b) inf*sin(b); -inf inf: -1 ?0;"
    " inf inf: ?inf nan; -inf nan: -1 ?0; inf nan: ?inf nan; nan 0: nan 0; nan Q: nan nan; nan I: nan nan; nan nan: nan nan",
    "log": "-0 0: -inf pi; 0 0: -inf 0; F inf: inf pi/2; F nan: nan nan; -inf P: inf pi; inf P: inf 0; -inf inf: inf 3*pi/4;"
    " inf inf: inf pi/4; I nan: inf nan; nan F: nan nan; nan inf: inf nan; nan nan: nan nan",
    "log1p": "-1 0: -inf 0; F inf: inf pi/2; F nan: nan nan; -inf P: inf pi; inf P: inf 0; -inf inf: inf 3*pi/4; inf inf: inf pi/4;"
    " I nan: inf nan; nan F: nan nan; nan inf: inf nan; nan nan: nan nan",
    "sinh": "0 0: 0 0; 0 inf: ?0 nan; 0 nan: ?0 nan; Q inf: nan nan; Q nan: nan nan; inf 0: inf 0; inf Q: inf*cos(b) inf*sin(b);"
    " inf inf: ?inf nan; inf nan: ?inf nan; nan 0: nan 0; nan Q: nan nan; nan nan: nan nan",
    "sqrt": "Z 0: 0 0; A inf: inf inf; F nan: nan nan; -inf P: 0 inf; inf P: inf 0; -inf nan: nan ?inf; inf nan: inf nan; nan F: nan nan;"
    " nan nan: nan nan",
    "tanh": "0 0: 0 0; Q inf: nan nan; 0 inf: 0 nan; Q nan: nan nan; 0 nan: 0 nan; inf P: 1 0; inf inf: 1 ?0; inf nan: 1 ?0;"
    " nan 0: nan 0; nan Q: nan nan; nan I: nan nan; nan nan: nan nan",
    "abs": "I A: inf 0; A I: inf 0; Z R: abs(b) 0; R Z: abs(a) 0; nan F: nan 0; F nan: nan 0; nan nan: nan 0",
    "isfinite": "nan A: 0 0; A nan: 0 0; I A: 0 0; A I: 0 0; F F: 1 0",
    "isinf": "I A: 1 0; A I: 1 0; F F: 0 0; nan F: 0 0",
    "isnan": "nan A: 1 0; A nan: 1 0; R R: 0 0",
    "sign": "Z Z: 0 ?0; nan A: nan nan; A nan: nan nan",
    "conj": "A A: a -b",
}
