"""Bars, features, processors and panels: everything between raw prices and the windows a network sees."""
