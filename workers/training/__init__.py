"""Train one network: step, schedule, psi interpolation, checkpoints, evaluation."""
