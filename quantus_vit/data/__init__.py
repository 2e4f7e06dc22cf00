"""Data sets of chest X-rays: the real COVID-QU-Ex layout and synthetic phantoms."""
