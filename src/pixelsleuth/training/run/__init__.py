"""The training loop: data, steps, checkpoints, log, schedule, plots, validation. The trainings stand on it."""
