"""Every exception class of fx and jit, in one place.

Each class subclasses the built-in exception that a NumPy user would expect, so ``except ValueError``
keeps working.  A message has three parts: what was written, what was found, what to do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = [
    "ArgnumsError",
    "ArgumentError",
    "AxisError",
    "AxisNameError",
    "BackendError",
    "BranchTypeError",
    "CacheError",
    "CheckError",
    "CheckpointError",
    "CheckpointMismatchError",
    "CarryTypeError",
    "ConcretizationError",
    "CorruptFileError",
    "CustomRuleError",
    "DTypeError",
    "DataError",
    "DeletedArrayError",
    "ExportError",
    "FrozenModuleError",
    "FxError",
    "GradientDTypeError",
    "GradientError",
    "GraphError",
    "ItemAssignmentError",
    "KeyReuseWarning",
    "LabelError",
    "LeakedTracerError",
    "LoweringError",
    "MissingKeyError",
    "MissingDataError",
    "MissingRuleError",
    "MissingStateError",
    "ModuleFieldError",
    "NaNError",
    "NonHashableStaticError",
    "NonLinearError",
    "NonScalarOutputError",
    "NotAFunctionError",
    "OutOfBoundsIndexError",
    "PlotError",
    "RankPromotionWarning",
    "ReadOnlyArrayError",
    "RefError",
    "RegistryError",
    "SaveError",
    "SaveWarning",
    "ShapeError",
    "SideEffectError",
    "SideEffectWarning",
    "StandInError",
    "StaticArgumentError",
    "TrainingError",
    "TrainingWarning",
    "TreeError",
    "TreeRegistryError",
    "TreeTypeError",
    "UnsupportedArgumentError",
    "UnsupportedFunctionError",
    "VmapAxisError",
    "WhileTransposeError",
]


class FxError(Exception):
    """Base class of every exception that fx raises on purpose."""


class ShapeError(FxError, ValueError, TypeError):
    """Operand shapes do not fit the operation: NumPy's ValueError; JAX raises TypeError for some and ValueError for others."""


class DTypeError(FxError, TypeError, ValueError):
    """Operand dtypes do not fit the operation: NumPy's TypeError; JAX raises either."""


class AxisError(FxError, ValueError, IndexError):
    """An axis is out of range or given twice (NumPy's AxisError is both of these built-ins too)."""


class ArgumentError(FxError, ValueError):
    """An argument, such as a mode or a count, has a value that the function has no meaning for."""


class UnsupportedArgumentError(FxError, NotImplementedError):
    """An argument asks for what the function of another library of this name can do, and ours cannot."""


class OutOfBoundsIndexError(FxError, IndexError):
    """A static index lies outside the array."""


class ItemAssignmentError(FxError, TypeError):
    """``x[i] = v`` on an immutable fx.Array; ``x = x.at[i].set(v)`` is the way out."""


class ReadOnlyArrayError(FxError, ValueError):
    """A write to a view that NumPy makes read-only (``np.diagonal``, ``np.broadcast_to``)."""


class RefError(FxError, ValueError):
    """A ref was used where it cannot be: in a trace that does not carry it (``ref`` is the one), as a result, under two names."""

    def __init__(self, message: str, ref: Any = None) -> None:
        super().__init__(message)
        self.ref = ref


class ConcretizationError(FxError, TypeError, ValueError):
    """Python asked a traced value for its number (``if x``, ``float(x)``, ``range(x)`` ...).

    A TypeError as in JAX, and the ValueError that the array API standard asks of lazy arrays.
    """


class LeakedTracerError(FxError, RuntimeError, TypeError):
    """A traced value was used after the function that was being traced had returned; a TypeError too, as in JAX."""


class DeletedArrayError(FxError, RuntimeError):
    """An array was used after its memory had been given up: donated to a jitted function, or deleted."""


class NotAFunctionError(FxError, TypeError):
    """A transformation or a loop was given something that cannot be called."""


class NaNError(FxError, FloatingPointError):
    """A NaN (or an infinity) appeared while ``fx.debug_nans`` (``debug_infs``) was on."""


class GradientError(FxError, TypeError):
    """A derivative was asked for in a way that has no meaning."""


class ArgnumsError(GradientError, ValueError):
    """``argnums`` do not fit the call."""


class NonLinearError(GradientError):
    """A function that was to be transposed is not linear."""


class NonScalarOutputError(GradientError, ValueError):
    """``grad`` of a function whose output is not one real scalar."""


class GradientDTypeError(GradientError):
    """``grad`` with respect to an integer or boolean input."""


class MissingRuleError(FxError, NotImplementedError):
    """A primitive has no rule for the transform that was applied, and says why."""


class CarryTypeError(FxError, TypeError):
    """The body of a loop returned its carry with another structure, shape or dtype, or no carry at all."""


class BranchTypeError(FxError, TypeError):
    """The branches of a conditional return values of different structures, shapes or dtypes."""


class WhileTransposeError(MissingRuleError, ValueError):
    """Reverse-mode differentiation of a loop whose number of iterations has no bound."""


class VmapAxisError(FxError, ValueError, TypeError):
    """``in_axes`` / ``out_axes`` / ``axis_size`` do not fit the arguments."""


class AxisNameError(FxError, NameError):
    """A collective names an axis that no surrounding vmap binds."""


class CheckError(FxError, ValueError):
    """A check of ``fx.experimental.checkify`` failed while the program ran."""


class StaticArgumentError(FxError, TypeError, ValueError):
    """``static_argnums``, ``donate_argnums`` or ``argnums`` do not fit the function's arguments, or those of a call do not fit
    what was compiled ahead."""


class NonHashableStaticError(StaticArgumentError, TypeError):
    """A static argument cannot be a dictionary key."""


class TreeError(FxError, ValueError, TypeError):
    """Two pytrees that should have the same structure differ (ValueError in JAX), or a leaf is not an array (TypeError)."""


class TreeTypeError(TreeError, TypeError):
    """What was given is not of the structure that the function takes apart."""


class TrainingError(FxError, ValueError):
    """What a training run was given (data, batch, loss, checkpoint) cannot be trained on."""


class TrainingWarning(UserWarning):
    """A training run goes on, but nothing comes of it."""


class PlotError(FxError, RuntimeError):
    """A figure that was asked for cannot be drawn or saved."""


class CustomRuleError(FxError, TypeError):
    """A custom derivative rule returned something that does not fit its function."""


class SideEffectError(FxError, RuntimeError):
    """A side effect (``out=``, a NumPy array written to) would be lost inside a traced function."""


class RankPromotionWarning(UserWarning):
    """Operands have different numbers of dimensions, and ``fx.config.numpy_rank_promotion`` is "warn"."""


class SideEffectWarning(UserWarning):
    """Something happened while tracing that will not happen again when the compiled program runs."""


class UnsupportedFunctionError(FxError, TypeError):
    """A NumPy function that cannot be traced was called on a traced value."""


class StandInError(FxError, ImportError):
    """fx cannot stand in for another library, which is imported already."""


class GraphError(FxError, AssertionError):
    """A graph, plan or loop program failed its verifier: a bug in fx, or in a rule that was added."""


class RegistryError(FxError, RuntimeError):
    """A rule or primitive was registered twice, or looked up and not found."""


class TreeRegistryError(RegistryError, ValueError):
    """A type was registered as a pytree node twice."""


class BackendError(FxError, RuntimeError):
    """The compiling backend is missing or refused the graph."""


class LoweringError(BackendError, NotImplementedError):
    """A primitive (or this dtype of it) has no lowering to native loops."""


class CacheError(FxError, OSError):
    """The kernel cache directory cannot be used."""


class FrozenModuleError(FxError, dataclasses.FrozenInstanceError):
    """An assignment to a field of an ``nn.Module``, which is immutable once made; ``nn.tree_at`` is the way out."""


class ModuleFieldError(FxError, TypeError):
    """A field of an ``nn.Module`` is undeclared, missing, or holds what its kind of field cannot hold."""


class MissingKeyError(FxError, TypeError):
    """A layer that draws noise was called without a key."""


class MissingStateError(FxError, TypeError):
    """A layer that keeps running statistics was called without its state, or with the state of another model."""


class LabelError(FxError, ValueError):
    """A label (or a target) lies outside the classes that there are."""


class KeyReuseWarning(UserWarning):
    """Two layers drew from the same key: their parameters, or their noise, are the same numbers."""


class DataError(FxError, ValueError):
    """Examples that cannot be used: none at all, a NaN among them, a line of a file that does not parse."""


class MissingDataError(FxError, FileNotFoundError):
    """The files of a data set are not there and cannot be fetched; the message says where they belong."""


class ExportError(FxError, ValueError):
    """A function cannot be exported, or bytes are none that ``fx.export`` of this version reads."""


class CheckpointError(FxError, ValueError):
    """A checkpoint cannot be written or read as asked."""


class CorruptFileError(CheckpointError, DataError):
    """A file is cut off, or its bytes are not those that were written."""


class CheckpointMismatchError(CheckpointError):
    """A checkpoint holds other entries, shapes or dtypes than what it is to be loaded into."""


class SaveWarning(UserWarning):
    """A checkpoint could not be written (a full disk ...); the run goes on, and the older checkpoints are unharmed."""


class SaveError(FxError, OSError):
    """A file could not be written (a full disk ...); what was there before is unharmed."""


# ------------------------------------------------------------------------ the names that JAX has for these

ConcretizationTypeError = ConcretizationError
TracerArrayConversionError = ConcretizationError
TracerBoolConversionError = ConcretizationError
TracerIntegerConversionError = ConcretizationError
NonConcreteBooleanIndexError = ConcretizationError
UnexpectedTracerError = LeakedTracerError
JAXTypeError = FxError
JAXIndexError = OutOfBoundsIndexError
JaxRuntimeError = CheckError
