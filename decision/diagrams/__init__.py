"""Diagrams of journeys: as Mermaid text, and as SVG without any program beside."""
