"""Renderers: each turns a Report into bytes, without looking at anything else."""
