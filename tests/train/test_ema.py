"""The running mean of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgesafe.train.ema import RunningMean


def test_running_mean_against_its_formula() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    mean = RunningMean(network, 0.9)
    expected = network[0].weight.detach().clone()
    for step in range(1, 40):
        with torch.no_grad():
            network[0].weight += 1.0
            network[1].running_mean += 0.5
            network[1].num_batches_tracked += 1
        decay = min(0.9, step / (step + 9))
        expected = decay * expected + (1 - decay) * network[0].weight.detach()
        mean.update(network, step)
    torch.testing.assert_close(mean.network[0].weight, expected)
    assert 0 < float(mean.network[1].running_mean[0]) < float(network[1].running_mean[0])
    assert int(mean.network[1].num_batches_tracked) == 39
    assert not mean.network.training


def test_what_does_not_learn_is_no_part_of_it() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    network.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    mean = RunningMean(network, 0.5)
    assert set(mean.parameters) == {"1.weight", "1.bias"}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 1
    mean.update(network, 9)
    torch.testing.assert_close(mean.network[1].bias, network[1].bias - 0.5)
    torch.testing.assert_close(mean.network[0].bias, network[0].bias - 1)
    assert torch.equal(mean.network.mask, network.mask)


def test_a_network_gets_its_own_weights_back() -> None:
    network = nn.Linear(2, 2)
    mean = RunningMean(network, 0.9)
    before = network.weight.detach().clone()
    with torch.no_grad():
        network.weight += 1
    with pytest.raises(KeyboardInterrupt), mean.lent(network):
        assert torch.equal(network.weight, before)
        raise KeyboardInterrupt
    torch.testing.assert_close(network.weight, before + 1)
    assert torch.equal(mean.network.weight, before)
