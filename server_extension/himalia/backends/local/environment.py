"""The variables that every run starts with: the machine's, without those of the service.

Control may descend from a Jupyter server whose environment holds tokens, so only what is known to
belong to the machine and the user's tools goes on.
"""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = frozenset(
    [
        "CC",
        "CURL_CA_BUNDLE",
        "CXX",
        "DISPLAY",
        "DYLD_LIBRARY_PATH",
        "HOME",
        "HOSTNAME",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "IPYTHONDIR",
        "LANG",
        "LANGUAGE",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "LOGNAME",
        "MANPATH",
        "MPLCONFIGDIR",
        "NO_PROXY",
        "ALL_PROXY",
        "PATH",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONUSERBASE",
        "PYTHONNOUSERSITE",
        "REQUESTS_CA_BUNDLE",
        "SHELL",
        "SPARK_HOME",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TEMP",
        "TERM",
        "TMP",
        "TMPDIR",
        "TZ",
        "TZDIR",
        "USER",
        "VIRTUAL_ENV",
        "WAYLAND_DISPLAY",
        "all_proxy",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "JAVA_HOME",
        "JUPYTER_PATH",
        "JUPYTER_DATA_DIR",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_RUNTIME_DIR",
        "GOPATH",
        "CARGO_HOME",
        "RUSTUP_HOME",
    ]
)
_PREFIXES = ("LC_", "XDG_", "CONDA_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "R_", "JULIA_", "SLURM_")


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a run inherits."""
    return {
        name: value
        for name, value in environment.items()
        if name in _NAMES or name.startswith(_PREFIXES)
    }
