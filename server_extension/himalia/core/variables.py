"""Which variables of one process's environment go on to another.

Environments descend from Jupyter servers and services, and hold their tokens. So only what is known
to belong to the machine, or to the user's tools, goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where an account finds programs whose own ``PATH`` nobody knows."""

_MACHINE = frozenset([
    "LANG", "LANGUAGE", "TZ", "TZDIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
])  # fmt: skip
_MACHINE_PREFIXES = ("LC_",)

_USER = _MACHINE | frozenset([
    "HOME", "USER", "LOGNAME", "SHELL", "PATH", "MANPATH", "TMPDIR", "TMP", "TEMP",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV",
    "PYTHONHOME", "PYTHONPATH", "PYTHONUSERBASE", "PYTHONNOUSERSITE",
    "JUPYTER_PATH", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR",
    "IPYTHONDIR", "MPLCONFIGDIR",
    "CC", "CXX", "JAVA_HOME", "SPARK_HOME", "GOPATH", "CARGO_HOME", "RUSTUP_HOME",
])  # fmt: skip
_USER_PREFIXES = (
    *_MACHINE_PREFIXES,
    *("XDG_", "CONDA_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "R_", "JULIA_"),
)

_CONTROL = _USER | {"JUPYTER_CONFIG_PATH", "JUPYTER_PREFER_ENV_PATH", "JUPYTER_PLATFORM_DIRS"}
_CONTROL_PREFIXES = (*_USER_PREFIXES, "PYTHON", "COVERAGE_")

_RUN = _USER | {"DISPLAY", "WAYLAND_DISPLAY", "TERM", "HOSTNAME", "LD_PRELOAD"}
_RUN_PREFIXES = (*_USER_PREFIXES, "SLURM_")


def of_machine(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what is the same for every account of the machine."""
    return _chosen(environment, _MACHINE, _MACHINE_PREFIXES)


def of_control(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what is the same in every session of a user: control serves all of them, and no token
    of the one that happened to start it may reach the others' runs.
    """
    return _chosen(environment, _CONTROL, _CONTROL_PREFIXES)


def of_run(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what every run starts with: the machine's and the user's, nothing of the service's."""
    return _chosen(environment, _RUN, _RUN_PREFIXES)


def _chosen(
    environment: Mapping[str, str], names: frozenset[str], prefixes: tuple[str, ...]
) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name in names or name.startswith(prefixes)
    }
