"""Fronts: one package per public protocol, each a thin layer between that protocol and sessions."""
