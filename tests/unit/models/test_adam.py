"""The optimiser of updates beside torch's."""

import torch
from torch import Tensor

from deeplog_grpc.models.key_learning import Adam


def test_steps_are_those_of_torch_to_the_last_bit() -> None:
    generator = torch.Generator().manual_seed(7)
    own = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((33, 64), (7,), (3,))]
    other = [tensor.detach().clone().requires_grad_() for tensor in own]
    optimizer = Adam(own, learning_rate=2e-3)
    theirs = torch.optim.Adam(other, lr=2e-3)
    for _ in range(20):
        for parameters in (own, other):
            for parameter in parameters:
                parameter.grad = None
            torch.autograd.backward(_loss(parameters))
        optimizer.step()
        theirs.step()

    assert all(torch.equal(one, two) for one, two in zip(own, other, strict=True))


def _loss(parameters: list[Tensor]) -> Tensor:
    return parameters[0].sin().sum() + parameters[1].square().sum() * parameters[0].mean()  # the third has no gradient
