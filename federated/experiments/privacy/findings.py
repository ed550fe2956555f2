"""Claims on what rules reveal, each against its bands."""

from __future__ import annotations

from federated.experiments.bands import Band, is_at_most, is_more, join, negate
from federated.experiments.kinds import Finding
from federated.experiments.privacy.groups import COIN, Group
from federated.experiments.privacy.membership import N_ROUND
from federated.experiments.privacy.reveals import CLEAR_RULES, DELTA, bound_epsilon
from federated.experiments.privacy.rows import GUESSED

LIKE_DB = 30.0
"""PSNR from which two pictures count as the same: what compressed photographs have and more."""
NEAR = 0.01
"""Of AUC above a coin's, and of accuracy: less is as good as nothing."""
NEAR_DB = 0.5
"""Of PSNR above class means: the same."""
MEAN_ALONE = ("loss", "lira", "update")


def list_membership_findings(groups: list[Group]) -> list[Finding]:
    """Of the clients with fewest samples, which leak most; the claim on a sum of ten of all."""
    group = groups[0]
    raw = group.find_strongest_auc("raw")
    ten = group.find_strongest_auc("sum-10")
    less = is_at_most(group.find_fall("raw", "sum-10"), 0.0)
    counts = group.find_strongest_auc("count")
    last = f"sum-{max(group.numbers)}"
    numbers = ", ".join(map(str, group.numbers))
    silent, silent_with_k = group.find_silence(MEAN_ALONE), group.find_silence(("all",))
    return [
        Finding(
            claim=f"models that are shown in the clear tell who trained on what ({CLEAR_RULES})",
            measured=_tell_attack(group, "raw"),
            holds=negate(_is_coin(raw)),
        ),
        *(_judge_guessing(group, "a sum of ten models", "sum-10") for group in groups),
        Finding(
            claim="a sum of ten models tells less than a model in the clear",
            measured=f"AUC {ten.tell(digits=3)} against {raw.tell(digits=3)}",
            holds=negate(less),
        ),
        _judge_guessing(group, "a sum of ten, for one of the ten who knows its own", "sum-9"),
        Finding(
            claim="a sum of enough models, without the proven counts, tells nothing of members",
            measured=f"{_tell_silence(silent)}, of n = {numbers}",
            holds=_is_coin(group.find_strongest_auc(last, MEAN_ALONE)),
        ),
        Finding(
            claim="a sum of enough models with the proven counts tells nothing of members",
            measured=f"{_tell_silence(silent_with_k)}, of n = {numbers}",
            holds=_is_coin(group.find_strongest_auc(last, ("all",))),
        ),
        Finding(
            claim="a proven count k alone tells nothing of members to one who knows the candidates",
            measured=f"AUC {counts.tell(digits=3)} from k of {group.parameters['n_shard']}",
            holds=_is_coin(counts),
        ),
        *(_judge_noise(group, noise) for noise in group.noises),
    ]


def list_inversion_findings(rows: list[Group], matching: Group) -> list[Finding]:
    """Of pictures: what an update gives back, and a sum of ten."""
    largest = rows[-1]
    raw = largest.find_psnr("raw")
    searched = matching.find_gain("raw")
    return [
        Finding(
            claim=f"a linear layer's update gives a picture of its client back ({CLEAR_RULES})",
            measured=f"best of {largest.n_own} at {_tell_pictures(largest, 'raw')}; class means "
            f"{_tell_pictures(largest, GUESSED)}",
            holds=is_more(raw, LIKE_DB),
        ),
        _judge_pictures(
            rows,
            "a sum of ten quantized models gives back nothing better than the class mean",
            "sum-10",
        ),
        _judge_pictures(
            rows,
            "a sum of ten that are not quantized gives back no better (secure aggregation alone)",
            "floats-10",
        ),
        Finding(
            claim="search gives a photograph back of a convolutional network's one step on it "
            f"({CLEAR_RULES})",
            measured=f"{_tell_pictures(matching, 'raw')}, {searched.tell('dB')} above class means",
            holds=is_more(searched, 0.0, near=NEAR_DB),
        ),
        _judge_pictures(
            [matching],
            "search in a sum of ten such steps gives back nothing better than the class mean",
            "sum-10",
        ),
    ]


def _judge_guessing(group: Group, what: str, name: str) -> Finding:
    """Holds where the band of the strongest attack ends at a coin's; open where it is wide."""
    return Finding(
        claim=f"membership inference on {what} is guessing ({group.n_own} samples a client)",
        measured=_tell_attack(group, name),
        holds=_is_coin(group.find_strongest_auc(name)),
    )


def _judge_noise(group: Group, noise: float) -> Finding:
    """Holds where the attack fails and the accuracy of a round is what it is without noise."""
    name = f"noised-{noise:g}"
    auc, accuracy, plain = (
        group.find_strongest_auc(name),
        group.find_accuracy(name),
        group.find_accuracy("raw"),
    )
    lost = group.find_band(lambda r: r["accuracy"]["raw"] - r["accuracy"][name])
    return Finding(
        claim=f"noise {noise:g} on shared models hides members and keeps accuracy (PoFL, noised)",
        measured=f"{_tell_attack(group, name)}; accuracy of {N_ROUND} "
        f"{accuracy.tell('%', scale=100)} against {plain.tell('%', scale=100)}; a bare level of "
        f"noise: epsilon <= {bound_epsilon(noise):,.0f} at delta {DELTA:g} for one round",
        holds=join([_is_coin(auc), is_at_most(lost, 0.0, near=NEAR)]),
    )


def _judge_pictures(groups: list[Group], claim: str, name: str) -> Finding:
    """Holds where no group's reconstructions are above class means, not where its band is wide."""
    gains = [group.find_gain(name) for group in groups]
    told = "; ".join(
        f"{_tell_own(group)}: {_tell_pictures(group, name)}, {gain.tell('dB')} above it"
        for group, gain in zip(groups, gains, strict=True)
    )
    holds = join([is_at_most(gain, 0.0, near=NEAR_DB) for gain in gains])
    return Finding(claim=claim, measured=told, holds=holds)


def _is_coin(auc: Band) -> bool | None:
    return is_at_most(auc, COIN, near=NEAR)


def _tell_own(group: Group) -> str:
    return "1 sample a client" if group.n_own == 1 else f"{group.n_own} samples a client"


def _tell_attack(group: Group, name: str) -> str:
    auc: Band = group.find_strongest_auc(name)
    tpr = group.find_tpr(name)
    return (
        f"AUC {auc.tell(digits=3)} by attack `{group.find_strongest(name)}`, "
        f"{tpr.tell('%', scale=100)} found at 1 % false"
    )


def _tell_pictures(group: Group, name: str) -> str:
    return f"{group.find_psnr(name).tell('dB')}, SSIM {group.find_ssim(name).tell(digits=2)}"


def _tell_silence(n: int | None) -> str:
    return "not at the greatest n" if n is None else f"from n = {n} on"
