"""The way to a notebook from the machine at which the user sits."""

from __future__ import annotations

import pytest

from ocicaliban.interactive import ssh_tunnel

SSH = {"SSH_CONNECTION": "192.0.2.7 5000 192.0.2.1 22"}
JOB = {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_HOST": "login1.hpc.example", "SLURMD_NODENAME": "node17"}
NAMES = {"box.example": ["192.0.2.1"], "login1.hpc.example": ["192.0.2.1"], "box": ["127.0.1.1"]}


@pytest.mark.parametrize(
    ("environ", "node", "expected"),
    [
        ({}, "box.example", ""),
        (SSH, "box.example", "ssh -N -L 8889:127.0.0.1:8889 me@box.example"),
        (SSH, "box", "ssh -N -L 8889:127.0.0.1:8889 me@192.0.2.1"),
        (
            {"SSH_CONNECTION": "2001:db8::7 5000 2001:db8::1 2222"},
            "box.example",
            "ssh -N -L 8889:127.0.0.1:8889 -p 2222 me@2001:db8::1",
        ),
        (JOB, "node17", "ssh -N -L 8889:127.0.0.1:8889 -J me@login1.hpc.example me@node17"),
        (JOB | SSH, "node17.hpc.example", "ssh -N -L 8889:127.0.0.1:8889 -J me@login1.hpc.example me@node17"),
        (
            JOB | {"SSH_CONNECTION": "2001:db8::7 5000 2001:db8::1 2222"},
            "node17",
            "ssh -N -L 8889:127.0.0.1:8889 -J 'me@[2001:db8::1]:2222' me@node17",
        ),
        (
            JOB | {"SLURMD_NODENAME": "login1"},
            "login1.hpc.example",
            "ssh -N -L 8889:127.0.0.1:8889 me@login1.hpc.example",
        ),
    ],
    ids=["here", "by name", "by address", "another port", "a job", "a job over ssh", "a job, another port", "one node"],
)
def test_the_way_from_where_the_user_sits(environ: dict[str, str], node: str, expected: str) -> None:
    assert ssh_tunnel.command(8889, environ, "me", node, lambda name: NAMES.get(name, [])) == expected
