"""One process or many: the accelerator, sharded weights, and the random states of all processes.

Under DDP every process holds the whole model. `shard` cuts it apart instead (FSDP2, torch's `fully_shard`): a process
keeps its part of the weights, gradients and moments. Checkpoints hold whole tensors either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pixelsleuth.errors import UsageError


def processes() -> Any:
    """The processes of this training, as accelerate's PartialState: those that torchrun started, else this one."""
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def make_accelerator(*, precision: str, batch: int, micro: int) -> Any:
    """The accelerator of a training; micro-batches are counted for the processes that there are.

    Args:
        precision: fp32, bf16 or fp16.
        batch: pictures of a step over all processes.
        micro: pictures that a process takes at once.

    Raises:
        UsageError: the batch cannot be shared evenly between the processes; fp16 without a GPU.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    on_gpu = torch.cuda.is_available()
    if precision == "fp16" and not on_gpu:
        raise UsageError("precision=fp16 needs a GPU: take bf16 or fp32.")
    mixed = {"fp32": "no"}.get(precision, precision)
    if AcceleratorState._shared_state.get("_mixed_precision", mixed) != mixed:
        AcceleratorState._reset_state()  # an earlier training of this process had another precision
    accelerator = Accelerator(
        cpu=not on_gpu,
        mixed_precision=mixed,
        # a micro-batch without masks does not touch the mask decoder
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if batch % accelerator.num_processes:
        raise UsageError(
            f"global_batch={batch} cannot be shared evenly between {accelerator.num_processes} processes."
        )
    share = batch // accelerator.num_processes
    accelerator.gradient_accumulation_steps = -(-share // micro)
    return accelerator


def shard(
    accelerator: Any, module: nn.Module, *, blocks: Sequence[nn.Module], kept: Sequence[nn.Module]
) -> None:
    """Cut the parameters of a module apart, in place, along their first dimension; each process keeps its part.

    A block is gathered when its forward or backward pass begins and freed when it ends; what belongs to no block is
    gathered once a pass. Every process has to run the same blocks in the same order, or all wait for ever.

    Args:
        blocks: parts that are gathered one at a time, such as the layers of the language model.
        kept: frozen parts that every process holds whole, because not every process runs them.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for part in kept:
        part.to(accelerator.device)
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh, ignored_params={value for part in kept for value in part.parameters()})


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """Inside, every process holds all weights of a sharded module: processes may then run different passes."""
    from torch.distributed.fsdp import FSDPModule

    parts = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(part is not module, recurse=False)
            part.reshard()


def random_states(accelerator: Any) -> dict[str, Tensor]:
    """torch's random state of every process, on the CPU and its GPU: dropout draws from it."""
    own = {"cpu": torch.get_rng_state()}
    if accelerator.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(accelerator.device)
    gathered = {
        kind: accelerator.gather(state.to(accelerator.device)[None]).cpu() for kind, state in own.items()
    }
    return {f"{kind}.{rank}": row for kind, rows in gathered.items() for rank, row in enumerate(rows)}


def restore_random(accelerator: Any, stored: dict[str, Tensor], processes: int, seed: int) -> None:
    """Put back each process' own state; with another number of processes, begin anew from `seed`."""
    rank = accelerator.process_index
    if processes != accelerator.num_processes or f"cpu.{rank}" not in stored:
        torch.manual_seed(seed * 1000 + rank)
        return
    torch.set_rng_state(stored[f"cpu.{rank}"])
    if accelerator.device.type == "cuda" and f"cuda.{rank}" in stored:
        torch.cuda.set_rng_state(stored[f"cuda.{rank}"], accelerator.device)
