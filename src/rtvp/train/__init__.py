"""Training: expert pre-training, then RTVP with the expert's help, then validation and a checkpoint."""

from rtvp.train.run import run_training

__all__ = ["run_training"]
