"""Everything `integrations` raises on purpose; each message ends in what to do next.

IntegrationError, a `kernels.errors.ZkpotError`
├── TicketInvalid       a server asks for no proof, or for one that this client does not give
├── TooFewCorrect       a client's model is not as good as the task asks for
└── ArraysUnsupported   the arrays of a framework's model are not those of the task's network
"""

from __future__ import annotations

from kernels.errors import ZkpotError


class IntegrationError(ZkpotError):
    """Root of the tree."""

    code = "integration_error"


class TicketInvalid(IntegrationError):
    """What a server asks a client to prove is not what this client was set up for."""

    code = "ticket_invalid"


class TooFewCorrect(IntegrationError):
    """A model gets fewer samples right than the task asks for; how many stays with its owner."""

    code = "too_few_correct"

    def __init__(self, n_correct: int, n_samples: int) -> None:
        super().__init__(
            f"the model gets fewer than {n_correct} of {n_samples} samples right: it stays out of "
            "this round; train longer, or on more data"
        )


class ArraysUnsupported(IntegrationError, ValueError):
    """A model's arrays are not the weights and biases of the task's network; never says a value."""

    code = "arrays_unsupported"

    def __init__(self, what: str, supported: str) -> None:
        self.what, self.supported = what, supported
        super().__init__(f"the arrays of the model {what}; this task proves {supported}")
