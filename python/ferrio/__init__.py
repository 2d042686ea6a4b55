"""Ferrio: asyncio, written in Rust."""
