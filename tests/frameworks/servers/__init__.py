"""Servers from Debian's packages, run privately: their own folder, their own port, an unprivileged user."""
