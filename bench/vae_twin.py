#!/usr/bin/env python3
"""The example VAE in PyTorch: the same layers, first values, objective, optimiser and batches' size.

    bench/vae_twin.py --data DIR [--epochs 10] [--seeds 0 1 2] [--threads 2]

Trains on MNIST's IDX files and prints, for each seed, the test loss in nats an image and the seconds of training.
"""
import argparse, os, sys, time

import torch
from torch import nn
from torch.nn import functional


class Vae(nn.Module):
    def __init__(self, pixels=784, hidden=256, latent=2):
        super().__init__()
        self.h = nn.Linear(pixels, hidden)
        self.mean, self.log_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.d, self.logits = nn.Linear(latent, hidden), nn.Linear(hidden, pixels)

    def parts(self, x, noise):
        h = torch.relu(self.h(x))
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + torch.exp(0.5 * log_var) * noise
        logits = self.logits(torch.relu(self.d(z)))
        reconstruction = functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
        kl = -0.5 * (1 + log_var - mean ** 2 - log_var.exp()).sum(1)
        return reconstruction, kl

    def loss(self, x):
        reconstruction, kl = self.parts(x, torch.randn(x.shape[0], 2))
        return (reconstruction + kl).mean()


def train(images, test, epochs, seed, batch=128):
    torch.manual_seed(seed)
    model = Vae()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seconds = 0.0
    for _ in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(len(images))
        for i in range(0, len(images) - batch + 1, batch):
            optimizer.zero_grad(set_to_none=True)
            model.loss(images[order[i:i + batch]]).backward()
            optimizer.step()
        seconds += time.perf_counter() - start
    with torch.no_grad():
        return model.loss(test).item(), seconds


def main():
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from idx import find_idx, read_idx
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images, test = (torch.from_numpy(read_idx(find_idx(arguments.data, name)).reshape(-1, 784).copy()).float() / 255
                    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"))
    losses = []
    for seed in arguments.seeds:
        loss, seconds = train(images, test, arguments.epochs, seed)
        losses.append(loss)
        print(f"seed {seed}: test loss {loss:.2f} after {arguments.epochs} epochs, {seconds:.1f} s of training", flush=True)
    print(f"mean test loss {sum(losses) / len(losses):.2f}")


if __name__ == "__main__":
    main()
