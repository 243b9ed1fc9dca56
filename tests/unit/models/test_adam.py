import pytest
import torch
from torch import Tensor, nn

from deeplog_grpc.models.adam import Adam, one_cycle

STEPS = 20


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def loss_of(model: nn.Module, step: int) -> Tensor:
    rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
    loss: Tensor = ((model(rows) - rows[:, :2]) ** 2).mean()
    return loss


def test_weights_move_as_by_torchs_own_adam() -> None:
    ours, theirs = network(), network()
    adam, optimizer = Adam(list(ours.parameters())), torch.optim.Adam(theirs.parameters(), lr=0.05)
    for step in range(STEPS):
        adam.zero_gradient()
        torch.autograd.backward(loss_of(ours, step))
        adam.clip_norm(0.1)
        adam.step(0.05)
        optimizer.zero_grad()
        torch.autograd.backward(loss_of(theirs, step))
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.1)
        optimizer.step()
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(own, other, atol=1e-5)


def test_the_parameters_stay_the_networks_own() -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adam = Adam(list(model.parameters()))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    torch.autograd.backward(loss_of(model, 0))
    adam.step(0.01)
    assert not any(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_single_numbers_of_the_gradient_are_cut() -> None:
    weight = nn.Parameter(torch.zeros(2))
    adam = Adam([weight])
    torch.autograd.backward((weight * torch.tensor([5.0, -0.01])).sum())
    adam.clip_values(0.1)
    assert adam.gradient.tolist() == pytest.approx([0.1, -0.01])


@pytest.mark.parametrize("steps", [1, 2, 3, 100])
def test_the_rate_rises_to_its_peak_and_falls_to_nothing(steps: int) -> None:
    rates = [one_cycle(step, steps)[0] for step in range(steps)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
