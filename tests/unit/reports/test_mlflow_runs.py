"""What is said of an MLflow server."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ocicaliban.errors import OcicalibanError
from ocicaliban.reports import mlflow_runs
from tests.unit.reports.samples import LRS


def test_a_fault_does_not_show_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fault(Exception):
        pass

    def client(tracking_uri: str) -> Any:
        raise Fault(f"API request to {tracking_uri}/api failed")

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=client))
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", SimpleNamespace(MlflowException=Fault))
    with pytest.raises(OcicalibanError) as told:
        mlflow_runs.write("http://ada:s3cret@host:5000", LRS, {})
    shown = "http://ada:****@host:5000"
    assert told.value.message == f"MLflow at {shown} refuses: API request to {shown}/api failed"
