"""The layers of residual networks, once for all that measures them: the twins, the single convolutions, the FLOP.

He et al. 2016, with the strides in the 3x3 as in PyTorch's ("v1.5"). Only products count as FLOP: convolutions and the
dense layer at the end, a multiplication and an addition for each tap, pads included."""
from collections import Counter
from dataclasses import dataclass

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


@dataclass(frozen=True)
class Conv:
    side: int  # of the picture that comes in
    channels: int
    units: int
    size: int
    stride: int = 1

    @property
    def places(self):
        """Side of the picture that goes out."""
        return (self.side + 2 * (self.size // 2) - self.size) // self.stride + 1

    def flop(self, batch):
        """The same in each of the three directions."""
        return 2 * batch * self.places ** 2 * self.size ** 2 * self.channels * self.units

    def __str__(self):
        return f"{self.side}x{self.side}x{self.channels} {self.size}x{self.size}/{self.stride} to {self.units}"


@dataclass(frozen=True)
class Block:
    body: tuple  # of Conv, with a relu between any two
    shortcut: object  # a Conv, or None: the input as it is


@dataclass(frozen=True)
class Network:
    stem: Conv
    is_pooled: bool  # 3x3 maxima after the stem
    blocks: tuple
    features: int
    classes: int

    @property
    def convs(self):
        """In the order of the network, the stem first."""
        found = [self.stem]
        for block in self.blocks:
            found += [*block.body, *([block.shortcut] if block.shortcut else [])]
        return found

    @property
    def distinct(self):
        """Each convolution once, with how often it occurs."""
        return Counter(self.convs)

    def inference_flop(self, batch):
        return sum(conv.flop(batch) for conv in self.convs) + 2 * batch * self.features * self.classes

    def training_flop(self, batch):
        """Forward, by data and by weights; nobody asks for the gradient of the pictures."""
        return 3 * self.inference_flop(batch) - self.stem.flop(batch)


def make_block(side, channels, width, stride, is_deep):
    if is_deep:
        units = 4 * width
        body = (Conv(side, channels, width, 1), Conv(side, width, width, 3, stride))
        body += (Conv(body[-1].places, width, units, 1),)
    else:
        units = width
        body = (Conv(side, channels, width, 3, stride),)
        body += (Conv(body[-1].places, width, units, 3),)
    changes = stride != 1 or channels != units
    return Block(body, Conv(side, channels, units, 1, stride) if changes else None)


def resnet(depth, side=224, is_small=False, classes=1000, width=64):
    """is_small: a stem of 3x3 and no pooling, for pictures of 32x32."""
    stem = Conv(side, 3, width, 3) if is_small else Conv(side, 3, width, 7, 2)
    side = stem.places if is_small else (stem.places - 1) // 2 + 1
    channels, blocks = width, []
    for stage, count in enumerate(BLOCKS[depth]):
        for i in range(count):
            stride = 2 if stage and not i else 1
            block = make_block(side, channels, width << stage, stride, depth > 34)
            side, channels = block.body[-1].places, block.body[-1].units
            blocks.append(block)
    return Network(stem, not is_small, tuple(blocks), channels, classes)
