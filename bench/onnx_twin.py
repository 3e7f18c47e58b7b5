"""Residual networks as ONNX files, made from the table of layers. Batch norms are folded into the convolutions."""
import numpy, onnx
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """Nodes and weights so far; each method adds a layer and returns the name of its result."""

    def __init__(self, weights):
        self.nodes, self.initializers, self.weights = [], [], weights

    def node(self, kind, *inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def parameters(self, shape):
        """Names of a weight of this shape and its bias, the next ones."""
        names = [f"{kind}{len(self.initializers) // 2}" for kind in ("weight", "bias")]
        for name, array in zip(names, self.weights(shape)):
            self.initializers.append(numpy_helper.from_array(array, name))
        return names

    def conv(self, x, conv):
        shape = (conv.units, conv.channels, conv.size, conv.size)
        return self.node("Conv", x, *self.parameters(shape), kernel_shape=[conv.size] * 2, strides=[conv.stride] * 2,
                         pads=[conv.size // 2] * 4)

    def block(self, x, block):
        y = self.conv(x, block.body[0])
        for conv in block.body[1:]:
            y = self.conv(self.node("Relu", y), conv)
        shortcut = self.conv(x, block.shortcut) if block.shortcut else x
        return self.node("Relu", self.node("Add", y, shortcut))


def random_weights():
    random = numpy.random.default_rng(0)

    def weights(shape):
        scale = (2 / numpy.prod(shape[1:])) ** 0.5
        return random.standard_normal(shape, dtype=numpy.float32) * numpy.float32(scale), numpy.zeros(shape[0], "f")

    return weights


def write_onnx(network, batch, path, weights=None):
    """weights: gives a weight of a shape and its bias, in the order of network.convs, then the dense layer's."""
    writer = Writer(weights or random_weights())
    x = writer.node("Relu", writer.conv("x", network.stem))
    if network.is_pooled:
        x = writer.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for block in network.blocks:
        x = writer.block(x, block)
    x = writer.node("Flatten", writer.node("GlobalAveragePool", x))
    x = writer.node("Gemm", x, *writer.parameters((network.classes, network.features)), transB=1)
    side = network.stem.side
    graph = helper.make_graph(
        writer.nodes, "resnet", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [batch, network.classes])], writer.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
