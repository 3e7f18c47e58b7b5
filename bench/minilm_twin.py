"""An encoder of texts in PyTorch and as an ONNX file: tokens of whole rows become features of length 1."""
import os, sys, warnings

sys.modules.setdefault("torchvision", None)  # transformers would look for one, which texts need not
import torch, transformers

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore")  # of the export, that shapes are fixed


class Encoder(torch.nn.Module):
    def __init__(self, folder):
        super().__init__()
        self.bert = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False).eval().requires_grad_(False)

    def forward(self, text, seen):
        hidden = self.bert(input_ids=text, attention_mask=seen).last_hidden_state
        seen = seen.unsqueeze(-1).to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * seen).sum(1) / seen.sum(1))


def write_onnx(about, text, seen, folder, is_fused):
    """is_fused: with ONNX Runtime's own fusions for BERT (attention, gelu, layer norm)."""
    path = os.path.join(folder, "encoder.onnx")
    encoder = Encoder(about["folder"])
    encoder.bert.set_attn_implementation("eager")
    torch.onnx.export(encoder, (text, seen), path, input_names=["text", "seen"], opset_version=17, dynamo=False)
    if is_fused:
        from onnxruntime.transformers import optimizer
        model = optimizer.optimize_model(path, "bert", num_heads=about["heads"], hidden_size=about["units"], opt_level=1)
        model.save_model_to_file(path)
    return path
