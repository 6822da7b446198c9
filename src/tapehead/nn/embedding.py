"""What stands between an input and a core: a small convolutional network that looks at the picture of each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tapehead.nn.checks import check_dtype, check_size

__all__ = ["ImageEmbedding"]

EPSILON, MOMENTUM = 1e-5, 0.1
"""Under the root of a variance, and of a batch in the running means: those of `torch.nn.BatchNorm1d`."""


class _Normalisation(nn.Module):
    """What `torch.nn.BatchNorm1d` does, over those rows that are asked for, and without its count of batches.

    The count is an integer among the weights. Weights begin with another number.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, **where: Any) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.empty(features, **where)) for _ in range(2))
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, torch.empty(features, **where))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, 0.35)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.running_mean)
        nn.init.ones_(self.running_var)

    def forward(self, input: Tensor, inside: Tensor | None = None) -> Tensor:
        """(pictures, features) -> the same; in training over the pictures that `inside` (pictures,) is true of."""
        input = input.to(self.weight.dtype)  # also under autocast
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = self._observe(input, inside)
        return (input - mean) * (variance + EPSILON).rsqrt() * self.weight + self.bias

    def _observe(self, input: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance, of which the running ones take a tenth.

        Of fewer than two pictures inside, among padding, there is no variance to learn from: they get the running ones.
        Nothing here looks at a value, which would have to wait for a GPU.
        """
        if len(input) < 2:
            raise ValueError(
                "ImageEmbedding: expected two pictures or more in training, over which it normalises, got "
                f"{len(input)}. Call eval() to look at one."
            )
        shares = torch.ones_like(input[:, :1]) if inside is None else inside.unsqueeze(-1).to(input.dtype)
        count = shares.sum()
        enough, count = count > 1, count.clamp(min=1)
        mean = (input * shares).sum(0) / count
        variance = ((input - mean).square() * shares).sum(0) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            for running, seen in ((self.running_mean, mean), (self.running_var, unbiased)):
                running.copy_(torch.where(enough, running * (1 - MOMENTUM) + MOMENTUM * seen, running))
        return torch.where(enough, mean, self.running_mean), torch.where(enough, variance, self.running_var)


class ImageEmbedding(nn.Module):
    """A convolutional embedding of the picture that every step's input begins with; the rest of it passes through.

    Three layers of 3 x 3 convolutions with ReLU, the first two each followed by maximum pooling over 2 x 2, then a
    linear map and batch normalisation: in training over all pictures that are given, after `eval()` by running means
    of those, so that every step is then embedded on its own. A random network shows all pictures nearly alike; this
    last layer takes the likeness away. Its weights begin with 0.35, which makes a picture twice as loud as a label.

    Args:
        input_size: D, width of the input: `image_size` x `image_size` pixels, row by row, then anything
        image_size: edge of the picture in pixels, a multiple of 4
        channels: of every convolution
        features: numbers that stand for a picture
        device: of the parameters
        dtype: torch.float32 or torch.float64

    Shape:
        input: (..., D)
        output: (..., features + D - image_size * image_size), `output_size` wide

    Raises:
        TypeError, ValueError: a size that does not fit; a single picture in training.

    >>> embedding = ImageEmbedding(input_size=405, image_size=20)
    >>> embedding(torch.rand(50, 8, 405)).shape, embedding.output_size
    (torch.Size([50, 8, 69]), 69)
    """

    def __init__(
        self,
        input_size: int,
        image_size: int,
        *,
        channels: int = 16,
        features: int = 64,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        sizes = {"input_size": input_size, "image_size": image_size, "channels": channels, "features": features}
        for name, size in sizes.items():
            check_size(owner, name, size)
        check_dtype(owner, dtype)
        if image_size % 4:
            raise ValueError(f"{owner}: expected image_size to be a multiple of 4, got {image_size}.")
        if input_size < image_size**2:
            raise ValueError(
                f"{owner}: expected input_size >= {image_size**2}, the pixels of image_size={image_size}, "
                f"got {input_size}."
            )
        self.input_size, self.image_size, self.channels, self.features = input_size, image_size, channels, features
        self.output_size = features + input_size - image_size**2
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.layers = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, **where),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, channels, 3, padding=1, **where),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, channels, 3, padding=1, **where),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels * (image_size // 4) ** 2, features, **where),
        )
        self.normalisation = _Normalisation(features, **where)

    def arguments(self) -> dict[str, int]:
        """What makes another of these: the constructor's arguments, all but device and dtype."""
        return {
            "input_size": self.input_size,
            "image_size": self.image_size,
            "channels": self.channels,
            "features": self.features,
        }

    def forward(self, input: Tensor, inside: Tensor | None = None) -> Tensor:
        """Pictures -> features: (..., D) -> (..., `output_size`).

        Of steps that `inside` (...) is false of, padding, nothing is learned: they have no part in the means. Where
        fewer than two are left, they are normalised by the running means, as after `eval()`, which stay as they are.
        """
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: expected input (..., {self.input_size}), got {tuple(input.shape)}."
            )
        steps = input.reshape(-1, self.input_size)
        pixels = self.image_size**2
        pictures = steps[:, :pixels].reshape(-1, 1, self.image_size, self.image_size)
        features = self.normalisation(self.layers(pictures), None if inside is None else inside.reshape(-1))
        embedded = torch.cat([features, steps[:, pixels:]], 1)
        return embedded.view(*input.shape[:-1], self.output_size)
