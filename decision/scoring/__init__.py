"""Scoring: model versions, their features, compiled trees and safe loading."""
