"""Reference models with random weights, and random sequences as their input."""

import torch
from transformers import XLMConfig as ReferenceConfig

from xlm_core.model.packing import PackedBatch

HIDDEN, LOGITS = 2e-5, 1e-4  # maximum absolute differences of hidden states and logits

MAX_POSITIONS = 24
LENGTHS = [5, 1, 24, 7, 5, 12, 23, 1]  # shortest, longest, and equal lengths that are not adjacent

TINY = {
    "vocab_size": 60,
    "emb_dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_langs": 3,
    "max_position_embeddings": MAX_POSITIONS,
    "pad_token_id": 2,
}


def reference(model_class, **changes):
    """Build a reference model with random biases and layer norms; their default values would hide errors."""
    model = model_class(ReferenceConfig(**(TINY | changes)))
    generator = torch.Generator().manual_seed(len(str(changes)))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("position_embeddings.weight") and changes.get("sinusoidal_embeddings"):
                continue  # the fixed table must not change
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_weight = "layer_norm" in name and name.endswith("weight")
            parameter.copy_(1 + 0.3 * noise if is_norm_weight else 0.25 * noise)
    return model.eval()


def save(model, directory, file_format):
    """Save a reference model as safetensors, or as a .bin file in the current or the old format."""
    model.save_pretrained(directory)
    if file_format != "safetensors":
        (directory / "model.safetensors").unlink()
        is_zip = file_format == "bin"
        torch.save(model.state_dict(), directory / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
    return directory


def sequences(lengths=LENGTHS, seed=0):
    """Draw (ids [1, n], langs [1, n]) for each length; no id is the pad, and langs differ between tokens."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randint(3, TINY["vocab_size"], (1, length), generator=generator),
            torch.randint(0, TINY["n_langs"], (1, length), generator=generator),
        )
        for length in lengths
    ]


def padded(samples, pad=2):
    """Pad sequences to [B, L]: ids, langs, mask."""
    width = max(ids.shape[1] for ids, _ in samples)
    ids = torch.full((len(samples), width), pad)
    langs, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (row_ids, row_langs) in enumerate(samples):
        length = row_ids.shape[1]
        ids[row, :length], langs[row, :length], mask[row, :length] = row_ids, row_langs, 1
    return ids, langs, mask


def pack(samples):
    """Pack sequences into one batch."""
    ids = torch.cat([ids[0] for ids, _ in samples])
    positions = torch.cat([torch.arange(ids.shape[1]) for ids, _ in samples])
    cu_seqlens = torch.tensor([0] + [ids.shape[1] for ids, _ in samples]).cumsum(0).int()
    return PackedBatch(ids, positions, cu_seqlens, torch.cat([langs[0] for _, langs in samples]))


def packed_results(model, samples):
    """Run the packed interface twice: each sequence in a batch of its own, then all sequences in one batch."""
    return [
        torch.cat([model.forward_packed(pack([one])) for one in samples]),
        model.forward_packed(pack(samples)),
    ]
