"""One process or many: what accelerate is told, and states that are the same whoever holds which part.

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


def accelerator(*, precision: str, batch: int, micro: int, clip: float) -> Any:
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
    made = Accelerator(
        cpu=not on_gpu,
        mixed_precision=mixed,
        # a micro-batch without masks does not touch the mask decoder
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if batch % made.num_processes:
        raise UsageError(
            f"global_batch={batch} cannot be shared evenly between {made.num_processes} processes."
        )
    share = batch // made.num_processes
    made.gradient_accumulation_steps = -(-share // micro)
    if kind_of(made) == "DEEPSPEED":
        made.state.deepspeed_plugin.deepspeed_config |= {
            "gradient_accumulation_steps": made.gradient_accumulation_steps,
            "train_micro_batch_size_per_gpu": micro,
            "gradient_clipping": clip,
        }
    return made


def states(made: Any, module: Any, optimiser: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What learns and its moments, whole, on the CPU: ({name: tensor}, {name//key: tensor})."""
    if kind_of(made) == "FSDP":
        dcp: Any = import_module("torch.distributed.checkpoint.state_dict")

        options = dcp.StateDictOptions(full_state_dict=True, cpu_offload=True)
        weights, kept = dcp.get_state_dict(module, optimiser.optimizer, options=options)
        flat = {
            f"{name}//{key}": torch.as_tensor(value)
            for name, values in kept["state"].items()
            for key, value in values.items()
        }
        names = {name.partition("//")[0] for name in flat} | set(_trained_names(module))
        return {name: weights[name] for name in weights if name in names}, flat
    named = trained(made.unwrap_model(module))
    if kind_of(made) == "DEEPSPEED":
        deepspeed: Any = import_module("deepspeed.utils")

        kept = {
            f"{name}//{key}": deepspeed.safe_get_full_optimizer_state(parameter, key).cpu()
            for name, parameter in named.items()
            for key in MOMENTS
        }
        return {name: deepspeed.safe_get_full_fp32_param(one).cpu() for name, one in named.items()}, kept
    return {name: one.detach().cpu() for name, one in named.items()}, moments(optimiser.optimizer, named)


def restore(made: Any, module: Any, optimiser: Any, tensors: dict[str, dict[str, Tensor]], name: str) -> None:
    """Put back what `states` gave, whatever the set-up then and now."""
    weights, kept = tensors["trained"], tensors["optimiser"]
    if kind_of(made) == "FSDP":
        dcp: Any = import_module("torch.distributed.checkpoint.state_dict")

        options = dcp.StateDictOptions(full_state_dict=True, strict=False)
        state: dict[str, dict[str, Tensor]] = {}
        for place, value in kept.items():
            parameter, _, key = place.partition("//")
            state.setdefault(parameter, {})[key] = value
        groups = dcp.get_optimizer_state_dict(module, optimiser.optimizer)["param_groups"]
        dcp.set_model_state_dict(module, weights, options=options)
        dcp.set_optimizer_state_dict(
            module, optimiser.optimizer, {"state": state, "param_groups": groups}, options=options
        )
        return
    named = trained(made.unwrap_model(module))
    if kind_of(made) == "DEEPSPEED":
        deepspeed: Any = import_module("deepspeed.utils")

        for key, one in named.items():
            deepspeed.safe_set_full_fp32_param(one, weights[key])
            for moment in MOMENTS:
                deepspeed.safe_set_full_optimizer_state(one, kept[f"{key}//{moment}"], moment)
        return
    restore_weights(named, weights, name)
    restore_moments(optimiser.optimizer, named, kept)


@contextmanager
def whole(made: Any, module: Any) -> Iterator[None]:
    """Inside, every process holds all weights: under FSDP they are gathered for as long."""
    if kind_of(made) == "FSDP":
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(module, writeback=False):
            yield
    else:
        yield


def random_states(made: Any) -> dict[str, Tensor]:
    """torch's random state of every process, on the CPU and its GPU: dropout draws from it."""
    found = {"cpu": torch.get_rng_state()}
    if made.device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(made.device)
    gathered = {kind: made.gather(state.to(made.device)[None]).cpu() for kind, state in found.items()}
    return {f"{kind}.{rank}": row for kind, rows in gathered.items() for rank, row in enumerate(rows)}


def restore_random(made: Any, stored: dict[str, Tensor], processes: int, seed: int) -> None:
    """Put back each process' own; another number of processes begins anew from `seed`."""
    rank = made.process_index
    if processes != made.num_processes or f"cpu.{rank}" not in stored:
        torch.manual_seed(seed * 1000 + rank)
        return
    torch.set_rng_state(stored[f"cpu.{rank}"])
    if made.device.type == "cuda" and f"cuda.{rank}" in stored:
        torch.cuda.set_rng_state(stored[f"cuda.{rank}"], made.device)


def kind_of(made: Any) -> str:
    return str(made.distributed_type.value)


def _trained_names(module: Any) -> list[str]:
    return [name.replace("_fsdp_wrapped_module.", "") for name in trained(module)]
