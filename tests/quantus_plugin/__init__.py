"""Tests of everything that touches Quantus; `tox` runs this folder with each supported installation."""
