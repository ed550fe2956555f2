"""The attacks that there are, by name."""

from __future__ import annotations

from federated.experiments.attacks.labels import LabelFlip, TargetedFlip
from federated.experiments.attacks.plain import InflatedClaim, Plain
from federated.experiments.attacks.triggers import (
    Backdoor,
    CleanLabelBackdoor,
    ColludingLeader,
    ModelReplacement,
)
from federated.experiments.attacks.updates import (
    CopiedModel,
    GaussianModel,
    ReturnedModel,
    SignFlip,
    ZeroModel,
)
from federated.experiments.simulation.interface import Attack

_ATTACKS: tuple[Attack, ...] = (
    Plain(),
    InflatedClaim(),
    LabelFlip(),
    TargetedFlip(),
    SignFlip(),
    GaussianModel(),
    ZeroModel(),
    ReturnedModel(),
    CopiedModel(),
    Backdoor(),
    CleanLabelBackdoor(),
    ModelReplacement(),
    ColludingLeader(),
)
ATTACKS: dict[str, Attack] = {attack.name: attack for attack in _ATTACKS}
"""Each with the numbers that its class has by default; `none` does nothing."""
