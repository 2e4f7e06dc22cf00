"""Reference fine-tuning of timm ViTs on chest X-rays.

Importing this package imports nothing; :mod:`.settings` needs no torch, and only :mod:`.fit` and :mod:`.module` need
Lightning.
"""
