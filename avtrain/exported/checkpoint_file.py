"""Files that others saved, read so that nothing in them can run.

Checkpoints are pickles, and a pickle can call any function while it is read. They are read with
torch's restricted unpickler: it makes tensors and plain containers, and refuses all else.
"""

import hashlib
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from avtrain.errors import WeightsError

_ZIP = b"PK\x03\x04"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # magic number of torch < 1.6, pickled
_BLOCK_BYTES = 1 << 22
_KEEP_TENSORS = (
    "python -c \"import torch; c = torch.load('FILE', weights_only=False); "
    "torch.save({k: c[k] for k in ('model', 'train_criterion') if k in c}, 'weights.pt')\""
)
_READ_FAULTS = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
)
"""What readers raise on damaged bytes; found by damaging files at random."""


def read_checkpoint_file(path: Path) -> Mapping[str, object]:
    """Content of a checkpoint of torch, old form or new, or of a safetensors file.

    Raises:
        WeightsError: The file is missing, cut off, not a checkpoint, or wants to run code.
    """
    if not path.is_file():
        seen = "is a folder" if path.is_dir() else "does not exist"
        raise WeightsError(f"{path} {seen}; give a checkpoint file")
    with path.open("rb") as file:
        head = file.read(512)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size:
        return _read_safetensors(path)
    try:
        _check_form(path, head)
        with warnings.catch_warnings():  # about pickles of other protocols, which are judged anyway
            warnings.simplefilter("ignore")
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from None
    except _READ_FAULTS as error:
        raise WeightsError(
            f"{path} cannot be read to its end ({_first_line(error)}): it is cut off or damaged; "
            f"it has {path.stat().st_size} bytes, download or copy it again"
        ) from None
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}, not a dictionary of tensors; give a file "
            "with a state dict"
        )
    return content


def file_sha256(path: Path) -> str:
    """Hex digest of the file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def tensors_of(table: object) -> dict[str, Tensor]:
    """The tensors of a state dict; empty where it is none."""
    if not isinstance(table, Mapping):
        return {}
    return {str(name): value for name, value in table.items() if isinstance(value, Tensor)}


def _check_form(path: Path, head: bytes) -> None:
    if head.startswith(_ZIP):
        if not zipfile.is_zipfile(path):
            raise WeightsError(
                f"{path} is cut off: it begins as a checkpoint of {path.stat().st_size} bytes and "
                "its table of contents, which comes last, is missing; download or copy it again"
            )
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("data.pkl") for name in archive.namelist()):
                return
        raise WeightsError(
            f"{path} is a zip archive and not a checkpoint; give the .pth.tar or .pth file itself"
        )
    if head.startswith(b"\x80"):  # a pickle: the restricted unpickler judges it
        return
    seen = "is empty"
    if head.lstrip()[:1] == b"<":
        seen = "is a web page, as servers send when a download fails"
    elif head:
        seen = f"begins with {head[:8]!r}"
    raise WeightsError(f"{path} is not a checkpoint: it {seen}; give a file that torch.save wrote")


def _refusal(path: Path, reason: str) -> WeightsError:
    """The restricted unpickler met what it does not make."""
    wanted = re.search(r"GLOBAL (\S+)", reason)
    if "truncated" in reason or "Ran out of input" in reason:
        return WeightsError(
            f"{path} is cut off: its pickle ends early at {path.stat().st_size} bytes; download or "
            "copy it again"
        )
    if wanted is None:
        line = next((text for text in reason.splitlines() if "operand" in text), "")
        detail = f" ({line.strip()})" if line else ""
        return WeightsError(
            f"{path} is refused: its pickle holds what no state dict of tensors needs{detail}; it "
            "is damaged, or was not written by torch.save. Nothing of it was run"
        )
    return WeightsError(
        f"{path} is refused: to read it, {wanted[1]} would have to be called, and a pickle that "
        "calls functions can do anything to this machine; nothing of it was run. If you trust the "
        f"file, keep only its tensors on a machine that has nothing to lose: {_KEEP_TENSORS}, and "
        "import weights.pt"
    )


def _read_safetensors(path: Path) -> Mapping[str, object]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors ({_first_line(error)}); download or copy it "
            "again"
        ) from None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")[:200]
