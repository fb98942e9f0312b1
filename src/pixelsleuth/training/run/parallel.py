"""One process or many: the accelerator, and states of a training that do not depend on the number of processes.

One process, DDP (torchrun) and gloo on CPUs are tested. FSDP and DeepSpeed come through an accelerate configuration
(recipes/sida/fsdp.yaml, zero2.yaml); their states are gathered whole, so a checkpoint does not depend on the set-up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from pixelsleuth.errors import UsageError
from pixelsleuth.training.run.checkpoints import moments, restore_moments, restore_weights, trained

MOMENTS = ("exp_avg", "exp_avg_sq")


def make_accelerator(*, precision: str, batch: int, micro: int, clip: float) -> Any:
    """The accelerator of a training; micro-batches are counted for the processes that there are.

    Args:
        precision: fp32, bf16 or fp16.
        batch: pictures of a step over all processes.
        micro: pictures that a process takes at once.
        clip: largest norm of the gradient.

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
    if kind_of(accelerator) == "DEEPSPEED":
        accelerator.state.deepspeed_plugin.deepspeed_config |= {
            "gradient_accumulation_steps": accelerator.gradient_accumulation_steps,
            "train_micro_batch_size_per_gpu": micro,
            "gradient_clipping": clip,
        }
    return accelerator


def states(accelerator: Any, module: Any, optimiser: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights that learn and their moments, whole, on the CPU: ({name: tensor}, {name//key: tensor})."""
    if kind_of(accelerator) == "FSDP":
        dcp: Any = import_module("torch.distributed.checkpoint.state_dict")

        options = dcp.StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, kept = dcp.get_state_dict(module, optimiser.optimizer, options=options)
        flat = {
            f"{name}//{key}": torch.as_tensor(value)
            for name, values in kept["state"].items()
            for key, value in values.items()
        }
        names = {name.partition("//")[0] for name in flat} | {
            name.replace("_fsdp_wrapped_module.", "") for name in trained(module)
        }
        return {name: weights[name] for name in weights if name in names}, flat
    named = trained(accelerator.unwrap_model(module))
    if kind_of(accelerator) == "DEEPSPEED":
        deepspeed: Any = import_module("deepspeed.utils")

        kept = {
            f"{name}//{key}": deepspeed.safe_get_full_optimizer_state(parameter, key).cpu()
            for name, parameter in named.items()
            for key in MOMENTS
        }
        return {name: deepspeed.safe_get_full_fp32_param(value).cpu() for name, value in named.items()}, kept
    return {name: value.detach().cpu() for name, value in named.items()}, moments(optimiser.optimizer, named)


def restore(
    accelerator: Any, module: Any, optimiser: Any, tensors: dict[str, dict[str, Tensor]], name: str
) -> None:
    """Put back what `states` gave, under the same set-up or another."""
    weights, kept = tensors["trained"], tensors["optimiser"]
    if kind_of(accelerator) == "FSDP":
        dcp: Any = import_module("torch.distributed.checkpoint.state_dict")

        options = dcp.StateDictOptions(full_state_dict=True, strict=False)
        state: dict[str, dict[str, Tensor]] = {}
        for entry, value in kept.items():
            parameter_name, _, key = entry.partition("//")
            state.setdefault(parameter_name, {})[key] = value
        groups = dcp.get_optimizer_state_dict(module, optimiser.optimizer)["param_groups"]
        dcp.set_model_state_dict(module, weights, options=options)
        dcp.set_optimizer_state_dict(
            module, optimiser.optimizer, {"state": state, "param_groups": groups}, options=options
        )
        return
    named = trained(accelerator.unwrap_model(module))
    if kind_of(accelerator) == "DEEPSPEED":
        deepspeed: Any = import_module("deepspeed.utils")

        for key, parameter in named.items():
            deepspeed.safe_set_full_fp32_param(parameter, weights[key])
            for moment in MOMENTS:
                deepspeed.safe_set_full_optimizer_state(parameter, kept[f"{key}//{moment}"], moment)
        return
    restore_weights(named, weights, name)
    restore_moments(optimiser.optimizer, named, kept)


@contextmanager
def whole(accelerator: Any, module: Any) -> Iterator[None]:
    """Inside, every process holds all weights: under FSDP they are gathered for as long."""
    if kind_of(accelerator) == "FSDP":
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(module, writeback=False):
            yield
    else:
        yield


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


def kind_of(accelerator: Any) -> str:
    """How the processes share the work: NO, MULTI_CPU, MULTI_GPU, FSDP, DEEPSPEED."""
    return str(accelerator.distributed_type.value)
