from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtvp.errors import RtvpError
from rtvp.models.image_encoder.checkpoint import read_state_dict


def test_reads_what_was_saved(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(7)}
    torch.save(tensors, tmp_path / "new.pt")
    torch.save(tensors, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("new.pt", "old.pt"):
        read = read_state_dict(tmp_path / name)
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("contents", [[torch.zeros(1)], {"epoch": 3}, {0: torch.zeros(1)}, torch.zeros(2)])
def test_other_contents_are_refused(tmp_path: Path, contents: object) -> None:
    torch.save(contents, tmp_path / "other.pt")
    with pytest.raises(RtvpError, match=r"other\.pt: expected a plain state dict"):
        read_state_dict(tmp_path / "other.pt")


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RtvpError, match=r"cannot read the weights .*absent\.pt: No such file"):
        read_state_dict(tmp_path / "absent.pt")
    with pytest.raises(RtvpError, match="cannot read the weights"):
        read_state_dict(tmp_path)


class Trap:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"a": torch.zeros(1), "trap": Trap(sprung)}, tmp_path / "trap.pt")
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("trap.pt", "trap.pkl"):
        with pytest.raises(RtvpError, match="damaged or foreign"):
            read_state_dict(tmp_path / name)
    assert not sprung.exists()


@pytest.mark.parametrize("new_format", [True, False])
def test_truncated_files_are_refused(tmp_path: Path, new_format: bool) -> None:
    path = tmp_path / "cut.pt"
    torch.save({"a": torch.zeros(1000)}, path, _use_new_zipfile_serialization=new_format)
    whole = path.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RtvpError, match=r"cut\.pt"):
            read_state_dict(path)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95"]))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, body: bytes, head: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.pt"
    path.write_bytes(head + body)
    with pytest.raises(RtvpError):
        read_state_dict(path)
