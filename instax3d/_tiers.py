"""The three tiers of the modules: what may be built upon, and for how long. Held by tests/core/test_tiers.py."""

CONTRACT = ("plugin", "component", "registry", "config", "errors", "types", "interfaces", "headmodel")
"""For every plugin, together with the names of ``import instax3d``. Versioned by `instax3d.plugin.API_VERSION`."""

TOOLKIT = ("io", "geometry", "inputs", "splats", "heads", "fitting", "matting", "assets", "datasets", "testing")
"""For plugins that want more than the contract: stable within a minor version of instax3d."""

PRIVATE = ("cli", "stages", "portrait", "report", "benchmark", "__main__")
"""How the program itself works; may change at any time, as may every module whose name begins with an underscore."""
