"""What the HTTP API says of the chain; byte strings in hexadecimal."""

from __future__ import annotations

from pydantic import Field

from api.http.schemas import Answer, Digest


class TransactionView(Answer):
    """A transaction of a final block."""

    kind: str = Field(examples=["proof"])
    digest: Digest
    client_key: Digest
    learning_round: int | None = None
    claimed_correct: int | None = Field(default=None, description="of a proof, or of a refused one")
    d_w: Digest | None = Field(default=None, description="of a commitment")
    proven_steps: int | None = Field(
        default=None, description="of a proof, where the task asks for proofs of training"
    )
    step: str | None = Field(default=None, description="of a contribution", examples=["mask"])


class EntryView(Answer):
    """A client's part in a global model."""

    client_key: Digest
    proven: int


class BlockView(Answer):
    """A final block with its certificate in short. `phase` and `leader` are as it leaves them."""

    height: int
    hash: Digest
    parent: Digest
    proposer: int
    round: int = Field(description="of the votes that made it final")
    voters: list[int]
    learning_round: int
    phase: str = Field(examples=["prove"])
    leader: Digest | None
    beacon: str
    global_model: str | None = Field(default=None, description="digest, where the round ends")
    outcome: str | None = Field(
        default=None,
        description="of a learning round, and why there is no model",
        examples=["model", "none: too_few"],
    )
    entries: list[EntryView]
    transactions: list[TransactionView]
    evidence_against: list[int]
    n_bytes: int


class BlockList(Answer):
    """Newest first. `next` continues the list."""

    height: int
    blocks: list[BlockView]
    next: int | None = None


class RoundView(Answer):
    """What a client did in a learning round; what is missing is null."""

    learning_round: int
    committed_at: int | None = Field(default=None, description="height")
    proven_at: int | None = None
    claimed_correct: int | None = None
    refused_at: int | None = Field(default=None, description="height; a proof did not verify")
    n_samples: int
    proven_steps: int | None = Field(
        default=None,
        description="of its training, by its proof; null also where the task asks for none",
    )
    n_steps: int | None = Field(default=None, description="of training in a round, likewise")
    masked_at: int | None = None
    unmasked_at: int | None = None
    excluded_for: str | None = Field(default=None, description="how it is proven to have cheated")
    entered_at: int | None = Field(default=None, description="height of the model it is in")


class ClientView(Answer):
    """A client's trail."""

    client_key: Digest
    validator: int
    registered_at: int | None = Field(description="height; null before the blocks shown here")
    governance_weight: int = Field(description="after the last block")
    rounds: list[RoundView]


class TrainingView(Answer):
    """What the task asks of training: `proven_steps` of `n_steps` in each round."""

    n_steps: int
    proven_steps: int
    batch_size: int = Field(description="samples of a step")
    recipe: Digest


class ClientList(Answer):
    clients: list[ClientView]


class LeaderView(Answer):
    """Who leads after the last final block, and who follows."""

    height: int
    learning_round: int
    phase: str
    client_key: Digest | None
    validator: int = Field(description="who proposes the next block first")
    ranking: list[Digest]
    training: TrainingView | None = Field(
        default=None, description="of the task; null where it asks for no proofs of training"
    )
