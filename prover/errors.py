"""Everything `prover` raises on purpose.

ProverError, a `kernels.errors.ZkpotError`
├── ArchitectureInvalid       a public description of a network cannot be meant
│   ├── CircuitTooLarge       its circuit has more rows than a limit, or takes more memory
│   ├── DoesNotFit            no proof for it fits a machine, in however many shards
│   └── QuantizationOverflow  a layer can exceed its accumulator bound, whatever its weights
├── BoundsInvalid             bounds on updates that no circuit is for
├── CeremonyInvalid           a key is not what its contributions made of the circuit's first key
├── DependentColumns          a circuit whose key would let statements or commitments be shifted
├── FieldInvalid              a field of a record, or its bytes, are not what it declares
├── FormatError               bytes of a file are not what the format demands
│   └── ModelFormatError      the bytes are no quantized model
├── KeyMismatch               key, circuit, witness or commitment do not belong together
├── TrapdoorInvalid           a setup scalar would make a point of the key the identity
├── SelfCheckFailed           a proof that was made does not verify; it is not published
├── ShardFailed               of a set in shards, which one was not proven and why
├── ShapeMismatch             samples or tensors do not fit the architecture
├── UnsatisfiedConstraint     the witness does not solve the circuit
├── RecipeInvalid             a description of training that no step can follow
├── RangeExceeded             a model's own numbers leave a range of the circuit; owner's eyes only
├── UpdateExceeds             a model changed more than its task allows; owner's eyes only
├── TableCollision            two rows of a lookup table are the same
└── BrokenRandomness          what should be random is not
"""

from __future__ import annotations

from kernels.errors import ZkpotError


class ProverError(ZkpotError):
    """Root of the tree: `except ProverError` catches everything `prover` raises on purpose."""

    code = "prover_error"


class FieldInvalid(ProverError, ValueError):
    """A record (`prover.wire.records`) cannot have this field, or be these bytes.

    what  : what is wrong, never a value
    where : the field, by its path from the outermost record; empty: the whole
    """

    code = "field_invalid"

    def __init__(self, what: str, *, where: str = "") -> None:
        self.what, self.where = what, where
        super().__init__(f"{where} {what}".lstrip())

    def within(self, name: str) -> FieldInvalid:
        """The same fault, seen from the record that has its record as this field."""
        return FieldInvalid(self.what, where=".".join(filter(None, (name, self.where))))


class FormatError(ProverError):
    """The bytes of `where` are not what its format demands.

    what      : what is wrong, with sizes, counts and names but no private value
    where     : file, and the section or field in it
    next_step : what the reader of the message can do about it
    """

    code = "bad_format"

    def __init__(self, what: str, *, where: str, next_step: str) -> None:
        self.what, self.where, self.next_step = what, where, next_step
        super().__init__(f"{where}: {what}; {next_step}")


class ArchitectureInvalid(ProverError):
    """A public description of a network (widths, shifts, names) is malformed or inconsistent."""

    code = "architecture_invalid"


class QuantizationOverflow(ArchitectureInvalid):
    """Some weights that the circuit accepts could drive |m*z| of a layer to 2^47 or beyond.

    Then equality mod r would no longer be equality of integers. Public numbers only.
    """

    code = "quantization_overflow"

    def __init__(self, *, layer: int, bound: int, limit: int, next_step: str) -> None:
        self.layer, self.bound, self.limit, self.next_step = layer, bound, limit, next_step
        super().__init__(f"layer {layer}: |m*z| can reach {bound}, limit {limit}; {next_step}")


class CeremonyInvalid(ProverError):
    """A key did not come from its circuit and powers of tau by the contributions that it names.

    what : the first thing that is wrong; everything in a key is public
    """

    code = "ceremony_invalid"

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what}; do not use the key, and get it again from those who made it")


class BoundsInvalid(ProverError, ValueError):
    """Bounds on updates are out of range, or together beyond what a circuit can prove."""

    code = "bounds_invalid"


class RecipeInvalid(ProverError, ValueError):
    """A public description of training is malformed, or its numbers could wrap around."""

    code = "recipe_invalid"


class CircuitTooLarge(ArchitectureInvalid):
    """The circuit of a network is not compiled: it has too many rows, or would not fit in memory.

    n_samples       : 0 where `name` says all of what the circuit is of
    n_rows, n_bytes : what it has, and what compiling takes at the most; max_bytes None: any
    """

    code = "circuit_too_large"

    def __init__(
        self,
        *,
        name: str,
        n_samples: int,
        n_rows: int,
        max_rows: int,
        n_bytes: int,
        max_bytes: int | None,
    ) -> None:
        self.n_rows, self.max_rows = n_rows, max_rows
        self.n_bytes, self.max_bytes = n_bytes, max_bytes
        what = f"{n_rows} rows, and the limit is {max_rows}"
        if n_rows <= max_rows and max_bytes is not None:
            what = f"{n_rows} rows, which take {n_bytes >> 20} MiB to compile, and there are "
            what += f"{max_bytes >> 20} MiB"
        if n_samples == 0:
            super().__init__(f"the circuit of {name} has {what}; take a smaller network")
            return
        super().__init__(
            f"the circuit of {name} on {n_samples} samples has {what}; take fewer samples "
            "(a larger set is proven in shards), smaller q_bits or a smaller network"
        )


class DoesNotFit(ArchitectureInvalid):
    """No proof for this network and these samples fits this machine; says what to change."""

    code = "plan_refused"


class ModelFormatError(FormatError):
    """The bytes are no quantized model (.zkq); never carries a weight or a bias."""

    code = "bad_model"


class ShapeMismatch(ProverError):
    """Samples, labels or tensors have another dtype or shape than the architecture asks for."""

    code = "shape_mismatch"


class RangeExceeded(ProverError):
    """A number of this model leaves a range that the circuit proves: at worst over all inputs, or
    in a step of its training.

    Its text and `value` tell about private weights: they stay with the model's owner.

    layer     : index of the layer
    quantity  : such as "weight", "bias", "quotient" or "logit margin"
    value     : the offending (worst-case) value, private
    bound     : least and greatest allowed value, public
    next_step : what the owner can do about it
    """

    code = "range_exceeded"
    carries_private_values = True

    def __init__(
        self, *, layer: int, quantity: str, value: int, bound: tuple[int, int], next_step: str
    ) -> None:
        self.layer, self.quantity, self.value = layer, quantity, value
        self.bound, self.next_step = bound, next_step
        super().__init__(
            f"layer {layer}: {quantity} {value} is outside [{bound[0]}, {bound[1]}]; {next_step}"
        )

    @property
    def public_message(self) -> str:
        return f"layer {self.layer}: {self.quantity} out of range; {self.next_step}"


class UpdateExceeds(ProverError):
    """A model changed more of the global one than the bounds of its task allow.

    Its text and `value` tell about private weights: they stay with the model's owner.

    quantity : "change of a weight", "change of a bias" or "sum of squares"
    value    : the offending one, private
    bound    : the greatest allowed one, public
    """

    code = "update_exceeds"
    carries_private_values = True
    next_step = "clip the update, or train less far from the global model"

    def __init__(self, *, quantity: str, value: int, bound: int) -> None:
        self.quantity, self.value, self.bound = quantity, value, bound
        super().__init__(f"{quantity}: {value}, at most {bound} allowed; {self.next_step}")

    @property
    def public_message(self) -> str:
        return f"{self.quantity}: more than {self.bound}; {self.next_step}"


class KeyMismatch(ProverError):
    """Two things of one proof do not belong together; `what` names both, never a secret."""

    code = "key_mismatch"

    def __init__(
        self, what: str, *, next_step: str = "use the key that `setup` made for this circuit"
    ) -> None:
        self.what, self.next_step = what, next_step
        super().__init__(f"{what}; {next_step}")


class TrapdoorInvalid(ProverError):
    """A setup scalar is zero, or tau lies on the domain or its coset; `name` says which."""

    code = "trapdoor_invalid"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"setup scalar {name} is degenerate; draw fresh randomness")


class SelfCheckFailed(ProverError):
    """The prover's own verifier refused its proof: the witness, the device or the key is wrong.

    The key of a stranger can be made to fail for some secrets (`prover.keys.points`).
    """

    code = "self_check_failed"

    def __init__(
        self,
        verdict: str,
        *,
        next_step: str = "use the model, commitment and blinding that belong together, and a key "
        "whose digest you know, or prove again on another device",
    ) -> None:
        self.verdict, self.next_step = verdict, next_step
        super().__init__(
            f"the new proof does not verify ({verdict}) and is not published; {next_step}"
        )


class ShardFailed(ProverError):
    """No proof of a set in shards is made: one of them fails, under the code of its own error.

    shard, n_shards : which one, and of how many; cause : what is wrong with it
    """

    code = "shard_failed"

    def __init__(self, *, shard: int, n_shards: int, cause: ProverError) -> None:
        self.shard, self.n_shards, self.cause = shard, n_shards, cause
        self.code = cause.code
        super().__init__(f"shard {shard} of {n_shards}: {cause.public_message}")


class DependentColumns(ProverError):
    """Columns of a circuit are not shown to be independent: no key is made for it.

    group : "model" or "public"; n_wires : how many of its wires have no place of their own
    """

    code = "dependent_columns"

    def __init__(self, *, group: str, n_wires: int) -> None:
        self.group, self.n_wires = group, n_wires
        super().__init__(
            f"{n_wires} {group} wires have columns that may depend on others; "
            "add a row x * 0 = 0 for each"
        )


class UnsatisfiedConstraint(ProverError):
    """Names the first failing constraint; never carries witness values (they are private).

    label : its block; index : its place in the block's tensor; n_failing : how many fail in all
    """

    code = "unsatisfied_constraint"

    def __init__(self, *, label: str, index: tuple[int, ...], n_failing: int) -> None:
        self.label, self.index, self.n_failing = label, index, n_failing
        super().__init__(
            f"constraint {label!r} {list(index)} fails, {n_failing} in all; "
            "the model, the samples or the claim do not fit the circuit"
        )


class TableCollision(ProverError, ValueError):
    """Two rows of a table are the same: a multiplicity could move between them."""

    code = "table_collision"


class BrokenRandomness(ProverError, RuntimeError):
    """The source returned too few bytes, or the same refused value again and again."""

    code = "broken_randomness"
