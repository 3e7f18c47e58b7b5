"""Residual networks in PyTorch, made from the table of layers: channels last, batch norm after each convolution."""
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


def conv_norm(conv):
    layer = nn.Conv2d(conv.channels, conv.units, conv.size, conv.stride, conv.size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(conv.units))


class Block(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.body = nn.ModuleList(map(conv_norm, block.body))
        self.shortcut = conv_norm(block.shortcut) if block.shortcut else nn.Identity()

    def forward(self, x):
        y = x
        for part in self.body[:-1]:
            y = functional.relu(part(y), inplace=True)
        return functional.relu(self.body[-1](y).add_(self.shortcut(x)), inplace=True)


class Resnet(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.stem = conv_norm(network.stem)
        self.pool = nn.MaxPool2d(3, 2, 1) if network.is_pooled else nn.Identity()
        self.blocks = nn.Sequential(*map(Block, network.blocks))
        self.logits = nn.Linear(network.features, network.classes)

    def forward(self, x):
        x = self.blocks(self.pool(functional.relu(self.stem(x), inplace=True)))
        return self.logits(x.mean((2, 3)))

    def loss(self, x, label):
        return functional.cross_entropy(self(x), label)


def make_twin(network):
    """A Resnet that has the table's convolutions, or an error."""
    model = Resnet(network).to(memory_format=torch.channels_last)
    made = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(made) == len(network.convs)
    return model


def fold_norms(model):
    """Batch norms of a model in eval mode become part of the convolutions before them."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Sequential) and len(child) == 2 and isinstance(child[1], nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child[0], child[1]))
            elif isinstance(child, nn.ModuleList):
                for i, part in enumerate(child):
                    child[i] = fuse_conv_bn_eval(part[0], part[1])
    return model
