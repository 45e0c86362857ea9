"""NVML's field values: several figures in one call, each with its own refusal."""

from __future__ import annotations

from typing import Any

from costmeter.gpu.nvml_ask import Asker

# Field ids of nvml.h (NVML_FI_DEV_...).
MEMORY_TEMPERATURE = 82
NVLINK_TRANSMITTED_KIB, NVLINK_RECEIVED_KIB = 138, 139
NVLINK_LINK_COUNT = 91
RETIRED_PENDING = 31
#: Error counters of all links together, and those of one link on newer cards.
NVLINK_TOTALS = {"crc_flit": 38, "crc_data": 45, "replay": 52, "recovery": 59}
NVLINK_BY_LINK = {"replay": 161, "recovery": 162, "crc": 163}
#: As a scope: all links.
ALL_LINKS = 0xFFFFFFFF

#: nvmlValueType_t to the member of the union that holds the value.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")

Field = tuple[int, int]


class Fields:
    """Asks the fields that the GPU answered before, or was not asked yet."""

    def __init__(self, asker: Asker, handle: Any, *fields: Field) -> None:
        self._asker = asker
        self._handle = handle
        self._fields = {one: f"field.{one[0]}.{one[1]}" for one in fields}

    def read(self) -> dict[Field, int]:
        """Field to value; a field that the card does not have is missing."""
        asker = self._asker
        wanted = [one for one, key in self._fields.items() if not asker.refused(key)]
        if not wanted:
            return {}
        values = asker.ask("fields", "nvmlDeviceGetFieldValues", self._handle, wanted, tolerate=2)
        answers: dict[Field, int] = {}
        if values is None:
            return answers
        for one, value in zip(wanted, values, strict=True):
            if value.nvmlReturn == 0 and value.valueType < len(_MEMBERS):
                answers[one] = int(getattr(value.value, _MEMBERS[value.valueType]))
            elif value.nvmlReturn in (2, 3, 13):
                asker.refuse(self._fields[one])
        return answers
