"""The words of the system: frozen values, errors, and the ports of clock and ids."""
