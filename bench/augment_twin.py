"""SimCLR's views in PyTorch, a whole batch at once and a part, colours and blur of its own for each picture, as selfc's
"simclr_augment" does: what a GPU's data loader would do, on the CPU. Cropping and flipping are one grid_sample, which
does not smooth where pictures shrink; the order of the jitter is drawn for the batch."""
import math

import torch
from torch.nn import functional

GRAY = torch.tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)


def crop_and_flip(x, size):
    n = len(x)
    area, ratio = torch.empty(n).uniform_(0.08, 1), torch.empty(n).uniform_(math.log(3 / 4), math.log(4 / 3)).exp()
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = width * (1 - 2 * (torch.rand(n) < 0.5).float())
    theta[:, 1, 1] = height
    theta[:, 0, 2], theta[:, 1, 2] = (1 - width) * (2 * torch.rand(n) - 1), (1 - height) * (2 * torch.rand(n) - 1)
    grid = functional.affine_grid(theta, (n, 3, size, size), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def factors(n, strength):
    return torch.empty(n, 1, 1, 1).uniform_(1 - strength, 1 + strength)


def gray_of(x):
    return (x * GRAY).sum(1, keepdim=True)


def turned_hue(x, turn):
    most, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    r, g, b = x.split(1, 1)
    span = most - least
    safe = torch.where(span == 0, 1.0, span)
    hue = torch.where(r == most, (g - b) / safe, torch.where(g == most, 2 + (b - r) / safe, 4 + (r - g) / safe))
    hue = (hue + 6 * turn) % 6
    share = torch.cat([(hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs()], 1).clamp(0, 1)
    return least + span * share


def jitter(x):
    n, y = len(x), x
    steps = [lambda a: (a * factors(n, 0.8)).clamp(0, 1),
             lambda a: torch.lerp(gray_of(a).mean((1, 2, 3), keepdim=True), a, factors(n, 0.8)).clamp(0, 1),
             lambda a: torch.lerp(gray_of(a), a, factors(n, 0.8)).clamp(0, 1),
             lambda a: turned_hue(a, factors(n, 0.2) - 1)]
    for i in torch.randperm(4).tolist():
        y = steps[i](y)
    return torch.where(torch.rand(n, 1, 1, 1) < 0.8, y, x)


def blur(x, size):
    n, _, h, w = x.shape
    place = torch.arange(size) - size // 2
    bell = (-(place / torch.empty(n, 1).uniform_(0.1, 2)) ** 2 / 2).exp()
    bell = (bell / bell.sum(1, keepdim=True)).repeat_interleave(3, 0)
    wide = functional.pad(x, [size // 2] * 4, "reflect").view(1, 3 * n, h + size - 1, w + size - 1)
    rows = functional.conv2d(wide, bell.view(3 * n, 1, 1, size), groups=3 * n)
    y = functional.conv2d(rows, bell.view(3 * n, 1, size, 1), groups=3 * n).view(x.shape)
    return torch.where(torch.rand(n, 1, 1, 1) < 0.5, y, x)


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@torch.no_grad()
def view(pictures, size, kernel):
    """pictures: u8[n, height, width, 3]"""
    x = jitter(crop_and_flip(pictures.permute(0, 3, 1, 2).float() / 255, size))
    x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.2, gray_of(x), x)
    if kernel:
        x = blur(x, kernel)
    return (x - MEAN) / DEVIATION
