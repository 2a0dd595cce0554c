"""Every rule for directions against a loop over items and pairs, its limits and its edges."""

import math
from typing import get_args

import pytest
import torch

from crossalign.align import ILALoss, direction_policy
from crossalign.align.directions import Directions
from crossalign.align.rules import (
    Dynamic,
    OneWay,
    Threshold,
    compensated,
    variance,
)
from crossalign.errors import ConfigError

NAMES = get_args(Directions)
DRAWN = {"random"}


def scores_and_presence(n=40, missing=True, seed=0):
    rng = torch.Generator().manual_seed(seed)
    scores = torch.rand(4, n, generator=rng, dtype=torch.float64) * 2 - 1
    return scores, torch.rand(4, n, generator=rng) < 0.7 if missing else None


def loop(name, scores, present, theta=0.2, theta_of="source", std=False, both=False):
    """`{(source, target, item)}` of the open directions, one decision at a time."""
    n_modalities, n = scores.shape
    has = [[present is None or bool(present[m, i]) for i in range(n)] for m in range(n_modalities)]
    spread = []
    for m in range(n_modalities):
        seen = [float(scores[m, i]) for i in range(n) if has[m][i]]
        mean = sum(seen) / len(seen)
        v = sum((s - mean) ** 2 for s in seen) / (len(seen) - 1)
        spread.append(math.sqrt(v) if std else v)
    found = set()
    for i in range(n):
        s = [float(x) for x in scores[:, i]]
        raised = [x + v * (math.exp(1 - x) - 1) for x, v in zip(s, spread, strict=True)]
        best = (
            max(s[m] for m in range(n_modalities) if has[m][i])
            if any(has[m][i] for m in range(n_modalities))
            else None
        )
        for a in range(n_modalities):
            for b in range(n_modalities):
                if a == b or not (has[a][i] and has[b][i]):
                    continue
                # for a reverse direction a -> b the one-way direction is b -> a
                ends = {"source": [s[b]], "target": [s[a]], "either": [s[a], s[b]]}[theta_of]
                is_open = {
                    "one_way": s[b] > s[a],
                    "bidirectional": True,
                    "topmost": s[b] == best and s[b] > s[a],
                    "threshold": s[b] > s[a] or (s[a] > s[b] and max(ends) > theta),
                    "dynamic": raised[b] > (raised[a] if both else s[a]),
                }[name]
                if is_open:
                    found.add((a, b, i))
    return found


def opened(mask):
    return {tuple(cell) for cell in mask.nonzero().tolist()}


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in DRAWN])
def test_equals_a_loop(name, missing):
    scores, present = scores_and_presence(missing=missing)
    policy = direction_policy(name, 4, theta=0.2)
    assert opened(policy(scores, present)) == loop(name, scores, present)


@pytest.mark.parametrize("theta_of", ["source", "target", "either"])
def test_threshold_looks_at_the_named_end(theta_of):
    scores, present = scores_and_presence()
    policy = direction_policy("threshold", 4, theta=0.2, theta_of=theta_of)
    assert opened(policy(scores, present)) == loop("threshold", scores, present, 0.2, theta_of)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("spread", ["variance", "std"])
def test_other_readings_of_the_dynamic_rule(spread, both):
    scores, present = scores_and_presence()
    policy = direction_policy("dynamic", 4, spread=spread, compensate_both=both)
    expected = loop("dynamic", scores, present, std=spread == "std", both=both)
    assert opened(policy(scores, present)) == expected


def test_a_rule_over_users_needs_their_variance_and_no_average():
    scores, present = scores_and_presence()
    policy = direction_policy("dynamic", 4, spread_over="users")
    with pytest.raises(ValueError, match="user_variance"):
        policy(scores, present)
    none = torch.zeros_like(scores)
    assert torch.equal(policy(scores, present, user_variance=none), OneWay()(scores, present)), (
        "users who agree leave the one-way rule"
    )
    with pytest.raises(ConfigError, match="set spread_decay to 0"):
        direction_policy("dynamic", 4, spread_over="users", spread_decay=0.5)
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        direction_policy("one_way", 4, feedback="cosin")


@pytest.mark.parametrize("theta_of", ["source", "target", "either"])
def test_limits_of_the_threshold(theta_of):
    scores, present = scores_and_presence()
    low, high = Threshold(-1.0, theta_of), Threshold(1.0, theta_of)
    both_ways = direction_policy("bidirectional", 4)(scores, present)
    assert torch.equal(low(scores, present), both_ways)
    assert torch.equal(high(scores, present), OneWay()(scores, present))


@pytest.mark.parametrize("name", NAMES)
def test_no_modality_teaches_itself_and_missing_rows_take_no_part(name):
    scores, present = scores_and_presence()
    active = direction_policy(name, 4)(scores, present)
    assert active.dtype == torch.bool
    assert active.shape == (4, 4, 40)
    assert not active.diagonal().any()
    for m in range(4):
        assert not active[m][:, ~present[m]].any()
        assert not active[:, m][:, ~present[m]].any()


@pytest.mark.parametrize("name", NAMES)
def test_one_item_and_none(name):
    policy = direction_policy(name, 3)
    assert policy(torch.tensor([[0.1], [0.2], [0.3]])).shape == (3, 3, 1)
    assert policy(torch.zeros(3, 0)).shape == (3, 3, 0)


def test_one_way_opens_three_of_six_without_ties():
    scores = torch.rand(3, 50, dtype=torch.float64)
    active = OneWay()(scores)
    assert (active.sum((0, 1)) == 3).all()
    assert not (active & active.transpose(0, 1)).any(), "a->b and b->a exclude each other"


def test_random_takes_one_direction_of_every_pair_and_follows_the_generator():
    policy = direction_policy("random", 4)
    scores, _ = scores_and_presence(n=2000)
    draws = [policy(scores, None, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    either = draws[0] ^ draws[0].transpose(0, 1)
    assert either.sum() == 12 * 2000
    share = draws[0].double().mean(2)
    assert ((share - 0.5).abs() < 0.05)[~torch.eye(4, dtype=torch.bool)].all()
    torch.manual_seed(3)
    first = policy(scores)
    torch.manual_seed(3)
    assert torch.equal(first, policy(scores)), "torch's global generator without another"


def test_ties_are_closed_one_way_and_open_both_ways_dynamically():
    scores = torch.tensor([[0.1, 0.5], [0.1, 0.5]])
    assert not OneWay()(scores).any()
    assert not direction_policy("topmost", 2)(scores).any()
    assert not Threshold(-1.0)(scores).any()
    assert Dynamic(2)(scores).sum() == 4


def test_no_variance_gives_the_one_way_rule():
    for scores in ([[0.1, 0.1], [0.2, 0.2], [0.15, 0.15]], [[0.1], [0.2], [0.3]]):
        table = torch.tensor(scores)
        found, _ = variance(table)
        torch.testing.assert_close(compensated(table, found.unsqueeze(1)), table)
        assert torch.equal(Dynamic(3)(table), OneWay()(table))


def test_averaged_spread_is_what_a_loop_over_batches_gives():
    policy = Dynamic(4, decay=0.75)
    average = None
    for seed in range(5):
        scores, present = scores_and_presence(seed=seed)
        active = policy(scores, present)
        now, _ = variance(scores, present)
        average = now if average is None else 0.75 * average + 0.25 * now
        raised = compensated(scores, average.float().double().unsqueeze(1))
        expected = (raised.unsqueeze(0) > scores.unsqueeze(1)) & present & present.unsqueeze(1)
        assert torch.equal(active & ~torch.eye(4, dtype=torch.bool)[..., None], active)
        assert torch.equal(active, expected & ~torch.eye(4, dtype=torch.bool)[..., None])
    torch.testing.assert_close(policy.average, average.float())


def test_averaged_spread_is_saved_kept_in_evaluation_and_untouched_by_small_batches():
    policy = Dynamic(4, decay=0.5)
    policy(scores_and_presence()[0])
    saved = policy.state_dict()
    assert set(saved) == {"average"}
    other = Dynamic(4, decay=0.5)
    other.load_state_dict(saved)
    before = policy.average.clone()
    policy(torch.rand(4, 1))
    assert torch.equal(policy.average, before), "one item has no variance"
    policy.eval()
    policy(torch.rand(4, 30))
    assert torch.equal(policy.average, before)
    assert torch.equal(other.average, before)
    assert Dynamic(4).state_dict() == {}


def test_averaged_spread_starts_when_a_modality_is_first_seen():
    policy = Dynamic(2, decay=0.5)
    present = torch.tensor([[True, True, True], [False, False, True]])
    scores = torch.tensor([[0.0, 0.4, 0.8], [0.1, 0.2, 0.3]])
    policy(scores, present)
    assert policy.average[0] == pytest.approx(0.16)
    assert policy.average[1].isnan()
    policy(scores)
    assert policy.average[1] == pytest.approx(0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_takes_every_rule(problem, name):
    p = problem(2)
    ila = ILALoss(4, modalities=p.names, directions=name).double()
    loss = ila(p.user, p.item, *p.content, p.users, p.items)
    loss.backward()
    assert loss.isfinite()
    shares = ila.diagnostics()
    assert 0 < sum(float(shares[f"direction/{d}"]) for d in ila.maps) <= 6


def test_a_named_rule_goes_before_leaky_bi():
    assert isinstance(ILALoss(4, leaky_bi=True).policy, Dynamic)
    assert isinstance(ILALoss(4).policy, OneWay)
    assert isinstance(ILALoss(4, leaky_bi=True, directions="one_way").policy, OneWay)


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match="did you mean 'threshold'"):
        direction_policy("treshold", 3)
    with pytest.raises(ConfigError, match="did you mean 'source'"):
        direction_policy("threshold", 3, theta_of="sourc")
    with pytest.raises(ConfigError, match="variance"):
        direction_policy("dynamic", 3, spread="range")
    with pytest.raises(ConfigError, match="spread_decay is 1"):
        direction_policy("dynamic", 3, spread_decay=1.0)
