"""One process on one part computes what one machine computes."""

import pytest
import torch
from one_machine import one_machine, same_weights, settings

from crossalign.align import ALIGNERS
from crossalign.distributed.cluster import entered
from crossalign.distributed.modules import make_modules
from crossalign.distributed.steps import RemoteSteps, Share
from crossalign.models import Batch
from crossalign.training.steps import SampledBlocks, Trained

CASES = [
    (backbone, alignment)
    for backbone in ("lightgcn", "bpr", "vbpr", "freedom")
    for alignment in ("none", "cross")
]
CASES += [("lightgcn", name) for name in ALIGNERS.names() if name != "cross"]
CASES += [("freedom", "fettle")]


@pytest.mark.parametrize(("backbone", "alignment"), CASES)
def test_losses_and_gradients_are_those_of_one_machine(
    backbone, alignment, world, neighbors, one_part
):
    """With all neighbours and no edge left out, to 1e-6: terms, tables and all else."""
    config = settings(backbone, alignment)
    whole, aligned = one_machine(config, world, neighbors)
    steps = SampledBlocks(
        Trained(whole, aligned, world.features), world, config.training, config.seed
    )
    rng = torch.Generator().manual_seed(3)
    edges = torch.randperm(world.train.shape[1], generator=rng)[:50].sort().values
    batch = Batch(*world.train[:, edges], torch.randint(40, (50,), generator=rng))
    view = steps.blocks_of_epoch().view(*steps.of_batch.seeds(batch))
    torch.manual_seed(7)  # of alignments that draw
    here = steps.of_batch(batch, view)
    here.total().backward()

    with entered(one_part) as cluster:
        modules = make_modules(config, cluster)
        same_weights(modules, whole, aligned)
        remote = RemoteSteps(modules, cluster, config.training, config.seed)
        torch.manual_seed(7)
        there = remote.losses(Share(batch, 1.0))
        there.total().backward()
        assert here.terms.keys() == there.terms.keys()
        for name, value in here.terms.items():
            assert there.terms[name].item() == pytest.approx(value.item(), rel=1e-6, abs=1e-7)
        for name, table in modules.rows.trained.items():
            expected = dict(whole.named_parameters())[name].grad
            found = torch.zeros_like(expected)
            for ids, rows in table._trace:
                found.index_add_(0, ids, rows.grad)
            assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6), name
            table.reset_trace()
        own = dict(modules.dense.named_parameters())
        parameters = {f"backbone.{n}": p for n, p in whole.named_parameters()}
        if aligned is not None:
            parameters |= {f"alignment.{n}": p for n, p in aligned.named_parameters()}
        compared = 0
        for name, parameter in parameters.items():
            if name.removeprefix("backbone.") in modules.rows.kinds or parameter.grad is None:
                continue
            assert torch.allclose(own[name].grad, parameter.grad, rtol=1e-6, atol=1e-6), name
            compared += 1
        assert compared > 0 or (backbone in ("lightgcn", "bpr") and alignment in ("none", "rna"))
