"""The parts of the soak: servers, clients, and the count of what stays behind."""
