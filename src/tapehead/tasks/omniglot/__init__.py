"""One-shot learning of handwritten characters: Santoro et al. 2016 (arXiv 1605.06065), section 4.1."""

from tapehead.tasks.omniglot.task import Omniglot

__all__ = ["Omniglot"]
