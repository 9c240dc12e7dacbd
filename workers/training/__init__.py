"""Train one network: step, psi interpolation, checkpoints, evaluation."""
