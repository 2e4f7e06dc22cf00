"""The version, read by the build backend and shown as ``quantus_vit.__version__``."""

__version__ = "0.2.0.dev0"
