"""Drafts of rule files: edited by several people, checked, tried, reviewed, published."""
