"""Stages: what is planned, trained, stored, shared and resumed."""
