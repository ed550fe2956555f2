"""Everything `federated` raises on purpose; each message ends in what to do next.

FederatedError, a `kernels.errors.ZkpotError`
├── DatasetRefInvalid   text that names no samples
├── DatasetMissing      samples that are not on this machine
├── DatasetCorrupt      a data file is not the one that its sha256 says
├── BatchUnusable       a source of a data set carries another content than it should
├── FetchFailed         no source delivered a data set
├── ProxyUnusable       the environment names a proxy of a kind that is not spoken here
├── HomeUnknown         `~` is in a path, and this user has no home folder
├── FloatModelInvalid   a file is no trained model of ours
├── TensorFileInvalid   bytes are no safetensors file that is read here
├── ScalesInvalid       numbers are no scales of a task's architecture
├── ProvingFailed       a client's prover has made no proof
├── BelowThreshold      a client's model gets too few samples right to count
├── OwnDataInvalid      a client's own samples do not fit the task
├── NetworkUnsupported  a client's own network is none that the task's circuit proves
├── OnnxFileInvalid     bytes are no ONNX model that is read here
├── OperatorUnsupported a node of an imported network has an operator that is none of ours
├── GraphUnsupported    a node of an imported network is used in a way that no circuit states
├── ClientFolderInvalid a client's folder cannot be used
├── GenesisUnavailable  there is no genesis where one was asked for, or another one
├── NotAdmitted         the task does not let this client in
├── AccountInvalid      a client cannot be bound to an account of the EVM
├── NodesSilent         no block has come for too long
├── NothingKept         earlier runs of an experiment have left too little for a report
└── CalibrationFailed   no scale keeps the quantized model inside its ranges; owner's eyes only
"""

from __future__ import annotations

from pathlib import Path

from kernels.errors import ZkpotError
from prover.errors import RangeExceeded


class FederatedError(ZkpotError):
    """Root of the tree."""

    code = "federated_error"


class DatasetRefInvalid(FederatedError):
    """The text is no data-set reference of this program."""

    code = "dataset_ref_invalid"


class DatasetMissing(FederatedError):
    """The samples exist, but not on this machine."""

    code = "dataset_missing"


class DatasetCorrupt(FederatedError):
    """A data file is truncated, malformed, or not the one its sha256 says.

    path : of the file, or its name alone; what : the trouble; next_step : what to do
    """

    code = "dataset_corrupt"

    def __init__(self, path: Path, what: str, next_step: str) -> None:
        self.path, self.what, self.next_step = path, what, next_step
        super().__init__(f"{path}: {what}; {next_step}")


class BatchUnusable(FederatedError):
    """A batch of a source is not what it should be, or cannot be read here; the text says why."""

    code = "batch_unusable"


class FetchFailed(FederatedError):
    """Every source of a data set failed.

    reasons : one sentence per source, in the order in which they were tried
    """

    code = "fetch_failed"

    def __init__(self, name: str, reasons: list[str], *, next_step: str) -> None:
        self.name, self.reasons, self.next_step = name, reasons, next_step
        super().__init__(f"{name}: no source worked ({'; '.join(reasons)}); {next_step}")


class ProxyUnusable(FederatedError):
    """The environment names a proxy that does not speak HTTP: SOCKS, above all."""

    code = "proxy_unusable"

    def __init__(self, *, variable: str, kind: str, host: str) -> None:
        super().__init__(
            f"{variable} names a proxy of kind {kind!r}, and only http and https are spoken here; "
            f"give an HTTP proxy, or put {host} into NO_PROXY to ask it directly"
        )


class HomeUnknown(FederatedError):
    """A path begins with `~`, and the system knows no home folder of this user."""

    code = "home_unknown"

    def __init__(self, path: Path, setting: str) -> None:
        super().__init__(
            f"this user has no home folder for {path}: set {setting} to a folder that it may write"
        )


class FloatModelInvalid(FederatedError):
    """The file is no model that `zkpot train` writes."""

    code = "float_model_invalid"


class TensorFileInvalid(FederatedError, ValueError):
    """The bytes are no safetensors file that is read here; says what is wrong, repeats nothing."""

    code = "tensor_file_invalid"


class ScalesInvalid(FederatedError, ValueError):
    """The numbers are no scales of the task's architecture."""

    code = "scales_invalid"


class ProvingFailed(FederatedError):
    """There is no proof; the message says why and what to do, without private values."""

    code = "proving_failed"


class BelowThreshold(FederatedError):
    """A client's model of a round gets fewer of the drawn samples right than the task asks for."""

    code = "below_threshold"

    def __init__(self, count: int, n_samples: int, threshold: int) -> None:
        super().__init__(
            f"the model gets {count} of {n_samples} samples right, and the task counts {threshold} "
            "or more: it stays out of the rest of this round; train longer, or on more data"
        )


class OwnDataInvalid(FederatedError, ValueError):
    """A client's own samples do not fit the task. where : file, array or name; never a sample."""

    code = "bad_data"

    def __init__(self, where: str, what: str, next_step: str) -> None:
        self.where, self.what, self.next_step = where, what, next_step
        super().__init__(f"{where}: {what}; {next_step}")


class NetworkUnsupported(FederatedError, ValueError):
    """A client's own network is none that the task's circuit proves; says which are."""

    code = "network_unsupported"

    def __init__(self, what: str, supported: str) -> None:
        self.what, self.supported = what, supported
        super().__init__(f"the network {what}; this task proves {supported}")


class OnnxFileInvalid(FederatedError, ValueError):
    """The bytes are no ONNX model that is read here. what : the trouble; next_step : what to do"""

    code = "onnx_file_invalid"

    def __init__(self, what: str, next_step: str) -> None:
        self.what, self.next_step = what, next_step
        super().__init__(f"{what}; {next_step}")


class OperatorUnsupported(FederatedError, ValueError):
    """A node has an operator that is none of ours; names both, and lists those that are."""

    code = "operator_unsupported"

    def __init__(self, *, operator: str, node: str, supported: list[str]) -> None:
        self.operator, self.node, self.supported = operator, node, supported
        super().__init__(
            f"the operator {operator} of node {node} is not supported; supported are "
            f"{', '.join(supported)}; replace it in the network and export again"
        )


class GraphUnsupported(FederatedError, ValueError):
    """A node of a supported operator is used in a way that no circuit states.

    operator, node : which; what : the trouble; next_step : what to do
    """

    code = "graph_unsupported"

    def __init__(self, *, operator: str, node: str, what: str, next_step: str) -> None:
        self.operator, self.node, self.what, self.next_step = operator, node, what, next_step
        super().__init__(f"{operator} of node {node} {what}; {next_step}")


class ClientFolderInvalid(FederatedError):
    """A client's folder cannot be used. path : in it; what : the trouble; next_step : what to do"""

    code = "bad_client_folder"

    def __init__(self, path: Path, what: str, next_step: str) -> None:
        self.path, self.what, self.next_step = path, what, next_step
        super().__init__(f"{path}: {what}; {next_step}")


class GenesisUnavailable(FederatedError):
    """There is no genesis where one was asked for, or another one than was asked for."""

    code = "genesis_unavailable"

    def __init__(self, source: str, what: str, next_step: str) -> None:
        super().__init__(f"{source} {what}; {next_step}")


class NotAdmitted(FederatedError):
    """The task does not let this client in; says why and what to do."""

    code = "not_admitted"


class AccountInvalid(FederatedError, ValueError):
    """A client cannot be bound to an account; the text never holds a private key."""

    code = "account_invalid"


class NodesSilent(FederatedError):
    """No final block has come for so long that the client gives up; nothing of it is lost."""

    code = "nodes_silent"

    def __init__(self, patience_s: float, height: int) -> None:
        super().__init__(
            f"no block after height {height} has come for {patience_s:g} s: see whether nodes run "
            "and ZKPOT_REDIS_URL names the server that they use, then start this again: it goes on "
            "where it was"
        )


class CalibrationFailed(FederatedError):
    """No weight scale keeps a layer inside the ranges of the circuit. Owner's eyes only."""

    code = "calibration_failed"
    carries_private_values = True

    def __init__(self, *, layer: int, last: RangeExceeded) -> None:
        self.layer, self.last = layer, last
        super().__init__(f"layer {layer}: no weight scale fits; the widest one tried gives: {last}")

    @property
    def public_message(self) -> str:
        return "the model cannot be quantized"


class NothingKept(FederatedError):
    """Earlier runs of an experiment have kept too little under enough seeds for a band."""

    code = "nothing_kept"

    def __init__(self, experiment: str, what: str = "setting") -> None:
        super().__init__(
            f"no {what} of {experiment} is kept under enough seeds for a band: run it without "
            "--kept first, or look for it in another --out; it may be interrupted"
        )
