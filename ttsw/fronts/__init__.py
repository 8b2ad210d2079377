"""Fronts: one package for each public protocol, each a thin translator between that protocol and sessions."""
