"""A made-up libnvidia-ml.so.1: a real shared library with the functions that are called."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Each line of the file is the number of a card and a process that computes on it; "hang" and "crash" do so.
_SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { unsigned pid; unsigned long long memory; unsigned instance, part; } process_t;

enum { OK = 0, NOT_SUPPORTED = 3, TOO_SMALL = 7 };

static int has(const char *word) {
    char line[100];
    int found = 0;
    FILE *file = fopen(STATE, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) found |= !strncmp(line, word, strlen(word));
    fclose(file);
    return found;
}

int nvmlInitWithFlags(unsigned flags) {
    FILE *log = fopen(STATE ".asked", "a");
    fputs("asked\n", log);
    fclose(log);
    while (has("hang")) usleep(10000);
    if (has("crash")) abort();
    return has("driver") ? 9 : OK;
}
const char *nvmlErrorString(int status) { return "the driver is not loaded"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = CARDS; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(size_t)(index + 1);
    return OK;
}
int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-%08d-0000", (int)(size_t)device - 1);
    return OK;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *found) {
    unsigned most = *count, card, pid;
    char line[100];
    FILE *file = fopen(STATE, "r");
    *count = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%u %u", &card, &pid) == 2 && card == (size_t)device - 1) {
            if (*count < most) found[*count] = (process_t){.pid = pid};
            ++*count;
        }
    if (file) fclose(file);
    return has("unsupported") ? NOT_SUPPORTED : *count > most ? TOO_SMALL : OK;
}
"""


@dataclass(frozen=True, slots=True)
class Nvml:
    """One library of two cards, ``0`` and ``1``, and the file that says who computes on them."""

    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        """By which programs find it."""
        return {"LD_LIBRARY_PATH": str(self.directory)}

    @property
    def _state(self) -> Path:
        return self.directory / "state"

    @property
    def looks(self) -> int:
        """How often it was asked."""
        asked = self.directory / "state.asked"
        return len(asked.read_text().splitlines()) if asked.exists() else 0

    def say(self, *lines: str) -> None:
        """Replaces what it says, at once."""
        fresh = self.directory / "fresh"
        fresh.write_text("".join(f"{line}\n" for line in lines))
        fresh.rename(self._state)

    def build(self) -> Nvml:
        self.directory.mkdir()
        source = self.directory / "nvml.c"
        source.write_text(_SOURCE)
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f'-DSTATE="{self._state}"', "-DCARDS=2", "-o",
             self.directory / "libnvidia-ml.so.1", source],
            check=True,
        )  # fmt: skip
        return self
